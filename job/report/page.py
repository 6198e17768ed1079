"""The frame of the report: one HTML file with its style, readable on a phone, in light and dark, without a script and without a network.

Knows no run. Whatever comes from a run folder goes through ``text``, and the page's own policy forbids scripts and requests besides.
"""

from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5b6675;--rule:#dde2e9;--c1:#1668c7;--c2:#c2570c;--c3:#11805b;
--good:#11805b;--bad:#c2271d;--warn:#9a6700}
@media (prefers-color-scheme:dark){:root{--page:#10141a;--card:#181e27;--ink:#e6eaf0;--soft:#9aa6b5;--rule:#2c3542;--c1:#6cb0ff;--c2:#ff9d57;
--c3:#55cf9f;--good:#55cf9f;--bad:#ff7b72;--warn:#e3b341}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1120px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:24px;margin:0;line-height:1.25;overflow-wrap:anywhere}
h2{font-size:18px;margin:32px 0 10px}
h3{font-size:14px;margin:0 0 4px;font-weight:600}
p{margin:6px 0}
.soft{color:var(--soft)}
.uri{overflow-wrap:anywhere;color:var(--soft);margin:2px 0 0}
.badge{display:inline-block;padding:1px 10px;border-radius:99px;font-size:14px;font-weight:600;border:1.5px solid currentColor;
vertical-align:3px;margin-left:10px;color:var(--soft)}
.badge.done{color:var(--good)}.badge.failed{color:var(--bad)}.badge.stale{color:var(--warn)}.badge.running{color:var(--c1)}
.why{border-left:3px solid var(--bad);padding:4px 12px;background:var(--card);overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:16px 0 0}
.tile,.card{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:10px 14px;min-width:0}
.tile b{display:block;font-size:19px;white-space:nowrap;font-weight:600;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:12px}
svg{display:block;width:100%;height:auto;overflow:visible}
.tick{font-size:12px;fill:var(--soft)}
.grid{stroke:var(--rule);stroke-width:1}
.line1,.line2,.line3{fill:none;stroke-width:1.8;stroke-linejoin:round}
.line1{stroke:var(--c1)}.line2{stroke:var(--c2)}.line3{stroke:var(--c3)}
.fill1,.band1{fill:var(--c1)}.fill2,.band2{fill:var(--c2)}.fill3,.band3{fill:var(--c3)}
.band1,.band2,.band3{opacity:.22}
line.start{stroke:var(--soft);stroke-width:1.3;stroke-dasharray:4 3}
line.fault{stroke:var(--bad);stroke-width:1.5}
.key{font-size:13px;color:var(--soft);display:flex;flex-wrap:wrap;gap:2px 14px;margin:0 0 4px}
.key i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px}
figure{margin:0}
figcaption{font-size:13px;color:var(--soft)}
figure img{display:block;width:100%;height:auto;border:1px solid var(--rule);border-radius:6px;background:#fff;image-rendering:pixelated}
.gif{grid-column:span 2;grid-row:span 2}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--rule);vertical-align:top;overflow-wrap:anywhere}
th{color:var(--soft);font-weight:500;white-space:nowrap}
tr:last-child>*{border-bottom:0}
.facts th{width:1%;padding-right:20px}
.short{white-space:nowrap}
pre{margin:8px 0 0;overflow-x:auto;font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
summary{cursor:pointer}
footer{margin-top:32px;font-size:13px;color:var(--soft)}
@media (max-width:480px){main{padding:14px 12px 40px}.tile b{font-size:18px}.pictures{grid-template-columns:repeat(2,1fr)}
.tiles{grid-template-columns:repeat(2,1fr)}.tick{font-size:14px}}
@media (max-width:640px){.tile,.card{padding:8px 10px}.rows,.rows tbody,.rows tr,.rows td{display:block}.rows thead{display:none}
.rows tr{padding:6px 0;border-bottom:1px solid var(--rule)}.rows tr:last-child{border-bottom:0}.rows td{border:0;padding:1px 0 1px 112px;min-height:0}
.rows td:empty{display:none}.rows td::before{content:attr(data-head);float:left;margin-left:-112px;width:104px;color:var(--soft)}
.short{white-space:normal}}
@media print{body{background:#fff}.card,.tile{break-inside:avoid}}
"""

MAX_TEXT = 4000
SHORT = 28  # stays on one line


def text(value: object, most: int = MAX_TEXT) -> str:
    """Any value as text of the page: escaped, without control characters, and not endless."""
    said = str(value)
    said = said if len(said) <= most else f"{said[:most]} ..."
    return escape(
        "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in said)
    )


def document(title: str, body: str) -> bytes:
    """The whole file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{text(title, 200)}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    ).encode(errors="replace")


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; nothing where that is nothing."""
    content = "\n".join(part for part in parts if part)
    return f"<section><h2>{text(title)}</h2>\n{content}</section>" if content else ""


def tiles(facts: Iterable[tuple[str, str]]) -> str:
    """Numbers to be seen first: what, and how much."""
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><span>{text(name)}</span><b>{text(value)}</b></div>'
            for name, value in facts
        )
        + "</div>"
    )


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """A table of names and values."""
    shown = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows
    )
    return f'<div class="card wide"><table class="facts">{shown}</table></div>' if shown else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a head; nothing where it has no rows."""

    def cell(head: str, value: object) -> str:
        said = text(value)
        return (
            f'<td data-head="{text(head)}"{" class=short" if len(said) <= SHORT else ""}>{said}</td>'
            if said
            else "<td></td>"
        )

    shown = "".join(
        "<tr>"
        + "".join(cell(head, value) for head, value in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    return (
        f'<div class="card wide"><table class="rows"><thead><tr>{head}</tr></thead><tbody>{shown}</tbody></table></div>'
        if shown
        else ""
    )


def chart_card(title: str, names: Sequence[tuple[str, int]], svg: str) -> str:
    """A chart below its title and the names of its lines; nothing where it has no line."""
    key = "".join(
        f'<span><i style="background:var(--c{colour})"></i>{text(name)}</span>'
        for name, colour in names
    )
    return (
        f'<div class="card"><h3>{text(title)}</h3><div class="key">{key}</div>{svg}</div>'
        if svg
        else ""
    )


def picture(uri: str, caption: str, alt: str, size: tuple[int, int], kind: str = "") -> str:
    """``uri`` is a ``data:`` URI of ours."""
    width, height = size
    shown = f'<img src="{escape(uri)}" alt="{text(alt)}" width="{width}" height="{height}">'
    return f'<figure class="{text(kind)}">{shown}<figcaption>{text(caption)}</figcaption></figure>'
