"""The report: one file without network access or scripts, for any content of a run folder."""

import html.parser
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.config.errors import StorageError
from job.report.html_report import build_report, write_report
from job.run.layout import CONFIGURATION, METRICS, REPORT, STATUS, grid_key
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.checkpoints.saves import save
from tests.report.runs import configuration, done_run, troubled_run
from tests.servers.browser import shown_in_a_browser

SCRIPT = (
    "</pre></table><script>document.title='run by a stranger'</script>"
    "<img src=x onerror=\"document.title='run by a stranger'\">"
)


class Page(html.parser.HTMLParser):
    """The tags and attributes that a browser finds in a file; checks that each tag is closed."""

    def __init__(self, data: bytes):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(data.decode())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("troubled") / "garments"
    troubled_run(open_store(str(folder)), every_seconds=1.0)
    return folder


@pytest.fixture
def hostile(troubled: Path, tmp_path: Path) -> ObjectStore:
    """A run folder with hostile content in every file that the report reads."""
    shutil.copytree(troubled, tmp_path / "hostile")
    store = open_store(str(tmp_path / "hostile"))
    store.write(
        CONFIGURATION, configuration() + f"\n# {SCRIPT}\x00\x1b[31m".encode() + b"\xff" * 100_000
    )
    for entry in list(store.list("starts/")):
        record = json.loads(store.read(entry.key))
        record["versions"] = {SCRIPT: SCRIPT, "deep": [[SCRIPT]] * 3}
        record["data"] = {"uri": SCRIPT, "num_images": SCRIPT, "image_shape": [SCRIPT] * 9}
        record["end"] = {"outcome": "failed", "why": SCRIPT * 1000, "time": SCRIPT}
        record["changed"] = {SCRIPT: {"was": SCRIPT, "is": None}, "x": 1}
        store.write(entry.key, json.dumps(record).encode())
    store.write(
        f"divergences/{'a' * 100}.json",
        json.dumps({"step": SCRIPT, "time": SCRIPT, "workers": [SCRIPT]}).encode(),
    )
    store.write("divergences/b.json", b"[" * 200_000)
    store.write("hangs/x<script>.txt", SCRIPT.encode() * 100_000)
    row = {
        "start": f"z{SCRIPT[:50]}-009",
        "row": 1,
        "step": 10**11,
        "time": SCRIPT,
        "dcgan_generator_loss": 1e290,
    }
    retries = {f'dcgan_fetch_retries_total{{reason="{SCRIPT}"}}': 3}
    store.write(
        METRICS,
        store.read(METRICS)
        + json.dumps(row | retries).encode()
        + b"\n"
        + b"x" * (40 << 20)
        + b"\n"
        + SCRIPT.encode() * 1000,
    )
    store.write(grid_key(0), b"no picture" * 1000)
    store.write(grid_key(1000), store.read(grid_key(1000))[:2000])
    store.write(grid_key(2000), f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>".encode())
    bomb = io.BytesIO()
    Image.fromarray(np.zeros((20_000, 6_000), np.uint8)).save(bomb, "PNG")
    store.write(grid_key(3000), bomb.getvalue())
    store.write(grid_key(10**20), b"")
    store.write(
        STATUS,
        json.dumps(
            {"progress": {"step": 12, "phase": SCRIPT}, "grid": SCRIPT, "curves": SCRIPT}
        ).encode(),
    )
    return store


@pytest.mark.slow
def test_all_of_a_run_is_in_one_file(troubled: Path) -> None:
    store = open_store(str(troubled))
    assert write_report(store) == f"file://{troubled}/{REPORT}"
    data = store.read(REPORT)
    page = Page(data)
    for section in (
        "Incidents",
        "Curves",
        "Grids over time",
        "Attempts",
        "Data",
        "Environment",
        "Configuration",
    ):
        assert section in page.text
    for fact in (
        "the program was killed",
        "the workers restarted",
        "a number was not finite",
        "a worker hung",
        "a checkpoint was quarantined",
    ):
        assert fact in page.text
    assert "2 times (throttled)" in page.text
    assert "attempt 2; 1,400 steps trained again" in page.text
    assert "3f" * 32 in page.text
    assert "training.generator_optimizer.learning_rate 0.001 to 0.0005" in page.text
    assert "tensorflow" in page.text
    assert "global_batch_size: 32" in page.text
    assert len(page.all("svg")) == 6
    assert len(page.all("img")) == 8
    assert len([line for line in page.all("line") if line.get("class") == "incident"]) == 6
    assert len(data) < 1_000_000


@pytest.mark.slow
def test_it_requests_nothing_and_runs_nothing(troubled: Path) -> None:
    page = Page(build_report(open_store(str(troubled))))
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "link", "iframe", "object", "embed", "form", "base", "a", "video", "audio"}
    )
    for tag, attributes in page.tags:
        assert not [
            name
            for name in attributes
            if name.startswith("on") or name in ("href", "srcset", "action", "background")
        ], tag
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    [policy] = [
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


@pytest.mark.slow
def test_pictures_and_charts_have_descriptions(troubled: Path) -> None:
    page = Page(build_report(open_store(str(troubled))))
    assert all(len(image["alt"]) > 10 for image in page.all("img"))
    assert all(re.search(r"from [\d.]+", svg["aria-label"]) for svg in page.all("svg"))
    assert page.all("html") == [{"lang": "en"}]


@pytest.mark.slow
def test_a_hostile_run_folder_neither_breaks_it_nor_gets_a_tag_into_it(
    hostile: ObjectStore,
) -> None:
    data = build_report(hostile)
    page = Page(data)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert "run by a stranger" in page.text, "it is shown as text"
    assert len(page.all("img")) == 4  # of 4,000, 5,000 and 6,000, and the animation of these
    assert "\x1b" not in page.text
    assert "\x00" not in page.text
    assert len(data) < 4_000_000


def test_a_run_folder_with_little_in_it_has_a_report(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    store.write(CONFIGURATION, configuration())
    save(store, 100)
    page = Page(build_report(store))
    assert "stale" in page.text
    assert "No incidents recorded." in page.text


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run there"):
        build_report(open_store(str(tmp_path)))


def test_a_run_without_incidents_says_so(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    done_run(store)
    page = Page(build_report(store))
    assert "No incidents recorded." in page.text
    assert "dashed" not in page.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark"), [(1200, False), (1200, True), (500, False)], ids=["light", "dark", "phone"]
)
def test_a_browser_shows_it(troubled: Path, tmp_path: Path, width: int, dark: bool) -> None:
    report = tmp_path / "report.html"
    report.write_bytes(build_report(open_store(str(troubled))))
    image, page = shown_in_a_browser(report, tmp_path / "browser", (width, 2400), dark=dark)
    assert image.size == (width, 2400)
    pixels = np.asarray(image).astype(int)
    background = pixels[5, 5]
    assert (background.max() < 40) if dark else (background.min() > 230)
    # The charts' lines have the colours of their scheme.
    for colour in (
        ((0x6C, 0xB0, 0xFF), (0xFF, 0x9D, 0x57))
        if dark
        else ((0x16, 0x68, 0xC7), (0xC2, 0x57, 0x0C))
    ):
        assert (np.abs(pixels - colour).max(axis=2) < 24).sum() > 500, colour
    rows_with_something = (np.abs(pixels - background).max(axis=2) > 60).any(axis=1)
    assert rows_with_something.mean() > 0.5
    # Nothing overflows the window to the right.
    assert (np.abs(pixels[:, -4:] - background).max(axis=2) < 60).all()
    assert "<svg" in page


@pytest.mark.slow
def test_a_browser_runs_nothing_of_a_hostile_folder(hostile: ObjectStore, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_bytes(build_report(hostile))
    _, page = shown_in_a_browser(report, tmp_path / "browser", (800, 600))
    [title] = re.findall(r"<title>(.*?)</title>", page)[:1]
    assert title == "hostile: failed"

    # A page that allows scripts shows that this test can fail.
    naive = tmp_path / "naive.html"
    naive.write_text(f"<title>hostile: failed</title>{SCRIPT}")
    _, page = shown_in_a_browser(naive, tmp_path / "naive", (800, 600))
    assert "<title>run by a stranger</title>" in page
