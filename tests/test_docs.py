"""The documents match the program: commands parse, links and tables are right, arguments are plain.

Every check is a function from a text to complaints, tried first on a text that breaks it and then
on the repository's.

    python tests/test_docs.py FOLDER...  # the wording of these folders or files
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import yaml

from job.cli.main import main
from job.config.documents import preset_names
from job.config.errors import ConfigError, DcganError
from job.config.load import load_run
from tests import wording
from tests.test_architecture import FOLDERS, MAY_LOAD

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "README.tr.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")),
)
Check = Callable[[str], Iterator[str]]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)\s]+)\)")
_REPOSITORY_PATH = re.compile(r"(?:job|tests|docs|bench)/[\w./-]+")


def blocks(text: str, *languages: str) -> list[str]:
    return [block for language, block in _FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """Return the texts in single backticks, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))


def broken_commands(text: str) -> Iterator[str]:
    """Lines of shell blocks must parse whole, as the program and make would parse them."""
    for line in "\n".join(blocks(text, "sh", "bash")).replace("\\\n", " ").splitlines():
        arguments = shlex.split(line, comments=True)
        if arguments[:2] == ["ray", "job"]:
            arguments = arguments[arguments.index("--") + 1 :]
        if arguments[:3] == ["python", "-m", "job"]:
            arguments = ["dcgan-train", *arguments[3:]]
        if arguments[:1] == ["dcgan-train"]:
            yield from (f"{line}: {complaint}" for complaint in unparsed(arguments[1:]))
        if arguments[:1] == ["make"]:
            yield from (f"{line}: {complaint}" for complaint in unmade(arguments[1:]))


def broken_mentions(text: str) -> Iterator[str]:
    """Commands inside a sentence may be incomplete, but their parts exist."""
    for span in spans(text):
        arguments = span.split()
        if arguments[0] == "dcgan-train":
            command, rest = command_of(arguments[1:])
            known = {
                name for option in command.params for name in (*option.opts, *option.secondary_opts)
            } | {"-h", "--help", "--version"}
            if isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
                yield f"{span}: no command {rest[0]}"
            yield from (
                f"{span}: no option {word}"
                for word in rest
                if word.startswith("-") and word not in known
            )
        if arguments[0] == "make":
            yield from (f"{span}: {complaint}" for complaint in unmade(arguments[1:]))


def command_of(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """Return the innermost command of ``arguments``, and the remaining arguments."""
    command: click.Command = main
    while isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command, arguments


def unparsed(arguments: list[str]) -> Iterator[str]:
    """Yield errors of a command line, also of the preset and the keys of a run."""
    command, rest = command_of(arguments)
    if isinstance(command, click.Group):
        yield f"no command {' '.join(rest) or '(none given)'}"
        return
    try:
        values = command.make_context("dcgan-train", list(rest)).params
        if {"preset", "overrides"} <= values.keys():
            load_run(values["preset"], overrides=values["overrides"], check=False)
    except (click.ClickException, ConfigError) as error:
        yield error.format_message() if isinstance(error, click.ClickException) else str(error)


def unmade(arguments: list[str]) -> Iterator[str]:
    makefile = (ROOT / "Makefile").read_text()
    for word in arguments:
        name, is_variable, _ = word.partition("=")
        if is_variable and f"$({name})" not in makefile:
            yield f"make knows no variable {name}"
        if not is_variable and not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE):
            yield f"make knows no target {word}"


def broken_configurations(text: str) -> Iterator[str]:
    """YAML that is a run (it has a ``uri``) is one that the program takes."""
    for block in blocks(text, "yaml"):
        document = yaml.safe_load(block)
        if "uri" not in document:
            continue
        overrides = [
            f"{key}={yaml.safe_dump(value, default_flow_style=True)}"
            for key, value in document.items()
            if key != "preset"
        ]
        try:
            load_run(document.get("preset"), overrides=overrides)
        except ConfigError as error:
            yield str(error)


def missing_paths(text: str) -> Iterator[str]:
    for span in spans(text):
        if _REPOSITORY_PATH.fullmatch(span) and not (ROOT / span).exists():
            yield f"{span}: no such file or folder"


BROKEN: list[tuple[Check, str, str]] = [
    (broken_commands, "```sh\ndcgan-train trian\n```", "no command trian"),
    (broken_commands, "```sh\ndcgan-train train --stes 3\n```", "No such option"),
    (
        broken_commands,
        "```sh\ndcgan-train train --set workers.cuont=3\n```",
        "did you mean workers.count?",
    ),
    (broken_commands, "```sh\ndcgan-train train --preset fashoin\n```", "did you mean fashion?"),
    (broken_commands, "```sh\ndcgan-train submit --set sede=1\n```", "did you mean seed?"),
    (broken_commands, "```sh\ndcgan-train data pack here\n```", "Missing argument 'DEST'"),
    (
        broken_commands,
        "```sh\ndcgan-train generate run \\\n  --num x --out y\n```",
        "'x' is not a valid integer",
    ),
    (
        broken_commands,
        "```sh\nray job submit --working-dir . -- python -m job tain\n```",
        "no command tain",
    ),
    (broken_commands, "```sh\nmake deom\n```", "no target deom"),
    (broken_commands, "```sh\nmake demo DATUM=x\n```", "no variable DATUM"),
    (broken_mentions, "Use `dcgan-train data pak`.", "no command pak"),
    (broken_mentions, "Use `dcgan-train train --dry`.", "no option --dry"),
    (broken_mentions, "Use `make tset`.", "no target tset"),
    (
        broken_configurations,
        "```yaml\nuri: a\ndata: {uri: b, flip: true}\n```",
        "data.flip: unknown key",
    ),
    (broken_configurations, "```yaml\nuri: a\n```", "data.uri is not set"),
    (missing_paths, "See `job/config/specs.py`.", "no such file"),
]
CHECKS = (broken_commands, broken_mentions, broken_configurations, missing_paths)


@pytest.mark.parametrize(
    ("check", "text", "complaint"), BROKEN, ids=[complaint for _, _, complaint in BROKEN]
)
def test_a_check_sees_what_it_is_for(check: Check, text: str, complaint: str) -> None:
    assert any(complaint in found for found in check(text)), list(check(text))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_our_documents_pass(name: str, check: Check) -> None:
    assert list(check((ROOT / name).read_text())) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_and_headings(name: str) -> None:
    text = (ROOT / name).read_text()
    for link in _LINK.findall(_FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert target.exists(), f"{name}: {link}"
        assert target.is_relative_to(ROOT), f"{name}: {link}"
        headings = (
            [
                heading_anchor(line)
                for line in target.read_text().splitlines()
                if line.startswith("#")
            ]
            if anchor
            else []
        )
        assert not anchor or anchor in headings, f"{name}: {link}"


def heading_anchor(line: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")


def test_the_configuration_reference_is_up_to_date() -> None:
    generate = runpy.run_path(str(ROOT / "docs/generate.py"))
    for name, made in (("configuration.md", "configuration"), ("run.schema.json", "editor_schema")):
        assert (ROOT / "docs" / name).read_text() == generate[made](), (
            "run: python docs/generate.py"
        )


@pytest.mark.parametrize("name", ["README.md", "README.tr.md"])
def test_the_two_commands_are_named(name: str) -> None:
    commands = "\n".join(blocks((ROOT / name).read_text(), "sh")).splitlines()
    assert {"make demo", "make test"} <= set(commands)


def rows(text: str) -> dict[str, str]:
    """Rows of the tables in ``text``, by their first cell without backticks."""
    found = re.findall(r"^\| *([^|]+?) *\|(.*)\|$", text, re.MULTILINE)
    return {first.strip("`"): rest for first, rest in found}


@pytest.mark.parametrize("name", ["README.md", "README.tr.md"])
def test_every_exit_code_is_explained(name: str) -> None:
    explained = set(
        re.findall(
            r"\d+",
            " ".join(
                first
                for first in rows((ROOT / name).read_text())
                if re.fullmatch(r"[\d, ]+", first)
            ),
        )
    )
    assert explained == set(re.findall(r"\d+", (main.help or "").partition("Exit codes:")[2]))
    assert {str(kind.exit_code) for kind in (DcganError, *DcganError.__subclasses__())} <= explained


@pytest.mark.parametrize("name", ["README.md", "README.tr.md"])
def test_the_table_of_presets_is_right(name: str) -> None:
    text = (ROOT / name).read_text()
    table = rows(text[text.index("| `notebook` |") :].partition("\n\n")[0])
    assert sorted(first for first in table if not first.startswith("-")) == preset_names()
    for preset in preset_names():
        spec = load_run(preset, check=False)
        shape = "x".join(map(str, (*spec.model.image_size, spec.model.channels)))
        assert [cell.strip() for cell in table[preset].split("|")][:3] == [
            shape,
            str(spec.training.global_batch_size),
            f"{spec.training.epochs:g}",
        ]


def test_the_symptoms_are_messages_of_the_program() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    sources = (*ROOT.glob("job/**/*.py"), ROOT / "Makefile")
    # A message may be several literals, one a line.
    text = re.sub(r'"\n *f?"', "", "\n".join(path.read_text() for path in sources))
    cells = re.findall(r"^\|(.*?)\|", page, re.MULTILINE)
    messages = [said for cell in cells for said in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) > 20
    assert [said for said in messages if said not in text] == []


TURKISH = {
    "goruntulerim": "my-images",
    "fotograflar": "photos",
    "goruntuler": "images",
    "ilk": "first",
    "sentetik": "synthetic",
    "rapor": "report",
    "uretec": "generator",
}


def outline(text: str) -> list[str]:
    """Return headings' levels, links and code of a page, with Turkish names translated."""
    parts = re.compile(
        r"^#+(?= )|^```(?:sh|python)\n.*?^```$|(?<=\]\()[^)]+", re.MULTILINE | re.DOTALL
    ).findall(text.replace(".tr.md", ".md"))
    return [
        re.sub(r"\w+", lambda word: TURKISH.get(word.group(), word.group()), part) for part in parts
    ]


@pytest.mark.parametrize("name", ["README", "docs/notebook"])
def test_both_languages_have_the_same_sections_commands_and_links(name: str) -> None:
    english, turkish = ((ROOT / f"{name}{end}").read_text() for end in (".md", ".tr.md"))
    assert (
        outline(turkish)[2:] == outline(english)[2:]
    )  # after the title and the link to the other page
    first_cells = [
        re.findall(r"^\| (`?\w[^|]*?) \|(?= \d)", text, re.MULTILINE) for text in (english, turkish)
    ]
    assert first_cells[0] == first_cells[1]


def test_the_table_of_folders_is_the_order_of_imports() -> None:
    table = {
        first.removeprefix("job/"): rest
        for first, rest in rows((ROOT / "docs/architecture.md").read_text()).items()
        if re.fullmatch(r"job/\w+", first)
    }
    assert tuple(table) == FOLDERS
    for library, folders in MAY_LOAD.items():
        named = {
            folder
            for folder, rest in table.items()
            if re.search(rf"\b{library}\b(?!, only)", rest.rpartition("|")[2])
        }
        assert named == folders, library


def test_the_picture_shows_every_folder() -> None:
    picture = (ROOT / "docs/images/architecture.svg").read_text()
    assert {folder for folder in FOLDERS if f"job/{folder}" not in picture} == set()


# Aim: 2,000 lines. Lower it with the code.
MAX_READING_FILES, MAX_READING_LINES = 18, 2_000


def test_the_main_path_is_read_in_an_hour() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    section = page.partition("\n## Reading order\n")[2].partition("\n## ")[0]
    paths = [ROOT / path for path in rows(section) if path.startswith("job/")]
    assert 10 <= len(paths) <= MAX_READING_FILES
    assert sum(path.read_text().count("\n") for path in paths) <= MAX_READING_LINES


@pytest.mark.parametrize(("text", "found"), wording.BROKEN)
def test_the_word_list_finds_each_dropped_phrase(text: str, found: str) -> None:
    assert [complaint.partition(";")[0] for _, complaint in wording.unplain(text)] == [repr(found)]


def test_every_phrase_of_the_word_list_has_an_example() -> None:
    advice = {
        complaint.partition("write: ")[2]
        for text, _ in wording.BROKEN
        for _, complaint in wording.unplain(text)
    }
    assert advice == set(wording.PHRASES.values())


def test_a_docstring_must_not_start_with_a_clause() -> None:
    assert [line for line, _ in wording.riddles(wording.RIDDLES)] == [1, 4, 5]


def test_the_word_list_leaves_plain_text_alone() -> None:
    assert list(wording.unplain(wording.PLAIN)) == []


@pytest.mark.parametrize(
    "path", ["packed/photos/index.json", "runs/one/run.yaml", "synthetic/000000000.png"]
)
def test_git_and_ray_leave_out_what_the_examples_make(path: str) -> None:
    """Ray's working directory is what .gitignore leaves."""
    assert (
        subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, env=os.environ).returncode
        == 0
    )
    assert (
        subprocess.run(
            ["git", "check-ignore", "-q", f"tests/{path}"], cwd=ROOT, env=os.environ
        ).returncode
        == 1
    )


def test_code_and_documents_use_plain_language() -> None:
    paths = wording.files()
    assert len(paths) > 300
    assert [complaint for path in paths for complaint in wording.complaints(path)] == []


if __name__ == "__main__":
    found = [
        complaint for path in wording.files(*sys.argv[1:]) for complaint in wording.complaints(path)
    ]
    sys.stdout.write("".join(f"{complaint}\n" for complaint in found))
    sys.exit(1 if found else 0)
