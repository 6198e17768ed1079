"""``dcgan-train doctor``: its lines on a terminal, as JSON, and its exit codes."""

import json
from pathlib import Path

import pytest

from job.cli.main import run_command
from tests.launch.program import SMALL
from tests.training.planned import pack_512


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in a cluster that is started later: the checks load neither TensorFlow nor Ray."""
    monkeypatch.setenv("RAY_ADDRESS", "release.invalid:6379")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(f"uri: {tmp_path}/run\ndata:\n  uri: {pack_512(tmp_path)}\n")
    return path


def settings() -> list[str]:
    return [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]


def test_a_run_that_would_start(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(["doctor", "--config", str(config), *settings()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok       run folder ranged read: bytes 4 to 11" in lines
    warning = lines.index(
        "warning  Keras and GPUs: not checked: the workers run in the cluster that"
    )
    assert lines[warning + 2].startswith("         -> add --workers, where")
    assert lines[-1].startswith("this run would start: ")
    assert lines[-1].endswith(", 0 errors, 1 warning")
    assert all(len(line) <= 80 for line in lines if str(config.parent) not in line)


def test_json_is_a_list_and_nothing_else(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["doctor", "--config", str(config), *settings(), "--set", "data.uri=/nowhere"]
    assert run_command([*command, "--json"]) == 5
    output = capsys.readouterr()
    rows = json.loads(output.out)
    assert {tuple(row) for row in rows} == {("check", "state", "found", "advice")}
    (wrong,) = [row for row in rows if row["state"] == "error"]
    assert wrong["check"] == "data index"
    assert "data pack" in wrong["advice"]
    assert output.err.startswith("error: this run would not start: ")
    assert run_command([*command, "--set", f"data.uri={config.parent}/packed", "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)
    assert output.err.startswith("this run would start: ")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--config", "nowhere.yaml"], 2, "nowhere.yaml: cannot read the configuration"),
        (["--set", "workers.cuont=2"], 2, "workers.cuont"),
        (["--set", "uri="], 2, "uri"),
        (["--workers"], 2, "--workers is given without a run; expected --config"),
    ],
)
def test_arguments_that_name_no_run(
    arguments: list[str],
    code: int,
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_command(["doctor", *arguments]) == code
    output = capsys.readouterr()
    assert text in output.out + output.err


def test_this_machine_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("a run on this machine would start")


def test_a_run_from_variables_alone(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCGAN_SET_URI", str(config.parent / "run"))
    assert run_command(["doctor"]) == 2
    assert "error    configuration: data.uri is" in capsys.readouterr().out
