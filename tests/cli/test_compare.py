"""``dcgan-train compare``: the table on a terminal, JSON, the page, and wrong arguments."""

import json
import re
import shutil
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.run.layout import CONFIGURATION
from job.storage.uri import open_store
from tests.cli.test_status import on_a_terminal
from tests.report.runs import SCORED_BY, configuration, done_run, scored_run
from tests.servers.s3 import S3Server


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two scored runs and one without scores; the names of two are long."""
    folder = tmp_path_factory.mktemp("runs")
    names = ("first", "training.objective.r1_gamma-0.5-f29257a0", "training.objective-0-1475e0eb")
    first, second, third = (open_store(str(folder / name)) for name in names)
    scored_run(first, {500: 30.0, 1000: 20.0, 1500: 25.0})
    scored_run(second, {500: 150.0}, **{"training.objective.r1_gamma": "0.5", "seed": "3"})
    done_run(third)
    return [str(folder / name) for name in names]


@pytest.mark.slow
def test_a_table_fits_80_columns(runs: list[str]) -> None:
    lines = on_a_terminal(["compare", *runs], 80).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if re.match(r"[123] ", line)]
    assert [row.split()[-2:] for row in rows[:2]] == [["20.00", "25.00"], ["150.00", "150.00"]]
    assert re.match(r"1 first +fashion +done +1,500 +48,000 +1,\d{3} ", rows[0])
    assert lines[-3:] == [
        "settings that differ, each value with the numbers of its runs:",
        "seed: 0 (1, 3), 3 (2)",
        "training.objective.r1_gamma: auto (1, 3), 0.5 (2)",
    ]


def test_a_pipe_gets_whole_lines(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *runs]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "2 training.objective.r1_gamma-0.5-f29257a0  fashion" in out


def test_a_script_gets_json(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["best_frechet_distance"] for run in found["runs"]] == [20.0, 150.0, None]
    assert [run["images_seen"] for run in found["runs"]] == [48_000, 16_000, 192_000]
    assert found["differences"]["training.objective.r1_gamma"] == ["auto", 0.5, "auto"]
    assert found["runs"][0]["basis"]["num_real"] == 2000


def test_a_page_is_written(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["compare", *runs, "--out", str(tmp_path / "compare.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/compare.html\n"
    page = (tmp_path / "compare.html").read_text()
    assert "<title>Comparison of 3 runs</title>" in page
    assert 'http-equiv="refresh"' not in page


@pytest.mark.slow
def test_other_features_and_unknown_settings_are_said(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored_run(open_store(str(tmp_path / "other")), {500: 1.0}, SCORED_BY | {"num_real": "7"})
    (tmp_path / "other" / CONFIGURATION).unlink()
    assert run_command(["compare", runs[0], str(tmp_path / "other")]) == 0
    out = capsys.readouterr().out
    assert "Frechet distances are not compared: 1 first has num_real 2000, 2 other has 7" in out
    assert "2 other: its configuration (run.yaml) cannot be read\n" in out
    assert "settings" not in out
    assert "20.00" not in out
    assert run_command(["compare", *runs[:2], str(tmp_path / "other")]) == 0
    out = capsys.readouterr().out
    assert "training.objective.r1_gamma: auto (1), 0.5 (2)\n" in out


def test_equal_settings_are_said(runs: list[str], tmp_path: Path, capsys) -> None:
    shutil.copytree(runs[0], tmp_path / "copy")
    assert run_command(["compare", runs[0], str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out.endswith("all settings are equal\n")


def test_no_name_or_value_controls_the_terminal(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a\nb\x1b[31m[red]"
    shutil.copytree(runs[0], folder)
    (folder / CONFIGURATION).write_bytes(
        configuration() + b'"k\\x1b": "v\\n\\x9b"\npreset2: "[b]"\n'
    )
    assert run_command(["compare", runs[0], str(folder)]) == 0
    out = capsys.readouterr().out
    assert r"2 a\nb\x1b[31m[red]" in out
    assert r"k\x1b: none (1), v\n\x9b (2)" in out
    assert "preset2: none (1), [b] (2)" in out


@pytest.mark.parametrize(
    ("names", "code", "message"),
    [
        (["first"], 2, "1 run to compare; expected 2 to 8"),
        (["first", *map(str, range(8))], 2, "9 runs to compare; expected 2 to 8"),
        (["first", "first/"], 2, "first/ is given twice; expected different runs"),
        (["first", ""], 2, "the URI of a store is empty"),
        (["first", "none"], 3, "none: no run there; expected a run folder"),
        ([], 2, "Missing argument 'RUN RUN...'"),
    ],
)
def test_wrong_runs_are_refused(
    runs: list[str], names: list[str], code: int, message: str, tmp_path: Path, capsys
) -> None:
    folder = Path(runs[0]).parent
    given = [name and f"{folder}/{name}" for name in names]
    assert run_command(["compare", *given, "--out", str(tmp_path / "page.html")]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_page_and_json_are_one_too_many(runs: list[str], tmp_path: Path, capsys) -> None:
    assert run_command(["compare", *runs, "--json", "--out", str(tmp_path / "page.html")]) == 2
    assert "both --out and --json are given; expected one of them" in capsys.readouterr().err


@pytest.mark.s3
def test_a_run_on_s3_is_compared_with_a_folder(
    runs: list[str], s3_env: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{s3_env.new_bucket()}/runs/other"
    done_run(open_store(uri))
    assert run_command(["compare", runs[0], uri]) == 0
    assert "2 other" in capsys.readouterr().out
