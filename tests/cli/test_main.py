"""The edge of the program: every error becomes one line and the exit code of its kind."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from job.cli.main import main, run_command

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tarin"], 2, "No such command"),
        (["train"], 2, "error: uri is not set"),
        (["train", "--preset", "fashon"], 2, "did you mean fashion?"),
        (["train", "--config", "none.yaml"], 2, "none.yaml: cannot read the configuration"),
        (
            ["train", "--set", "uri=runs", "--set", "data.uri=none"],
            5,
            "none/index.json: not found; expected a packed data set",
        ),
        (
            ["train", "--set", "uri=gs://b/r", "--set", "data.uri=none"],
            2,
            "gs://b/r: unknown scheme gs://; expected s3://",
        ),
        (
            ["train", "--set", "uri=runs", "--set", "data.uri=gs://bucket/x"],
            2,
            "gs://bucket/x: unknown scheme gs://; expected s3://",
        ),
        (
            ["checkpoints", "list", "none", "--set", "training.steps=3"],
            2,
            "--set training.steps=3: expected a key of the storage section",
        ),
        (
            ["checkpoints", "list", "none", "--set", "storage=3"],
            2,
            "--set storage=3: expected a key of the storage section",
        ),
        (
            ["checkpoints", "list", "none", "--set", "storage.acl=public"],
            2,
            "storage.acl is 'public'; expected one of bucket-owner-full-control",
        ),
        (["checkpoints", "list", "none"], 3, "none: no committed checkpoint"),
        (["generate", "none", "--num", "0", "--out", "x"], 2, "--num"),
        (["generate", "none", "--num", "1", "--out", ""], 2, "--out is empty"),
        (["generate", "none", "--num", "1", "--out", "x", "--start", str(2**60)], 2, "--start"),
        (["data", "pack", "none", "packed"], 5, "none"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_help_and_version_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--help"]) == 0
    assert run_command(["--version"]) == 0
    assert "dcgan-train, version" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    shell = f"{sys.executable} -m job train --help | head -c 1"
    result = subprocess.run(
        shell, shell=True, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "<&-"])
def test_closed_standard_streams_end_in_no_file(closed: str, tmp_path: Path) -> None:
    shell = f"{sys.executable} -m job data pack synthetic:garments:20 {tmp_path}/packed {closed}"
    result = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert run_command(["data", "verify", str(tmp_path / "packed")]) == 0


def test_a_hangup_stops_the_program_unless_nohup_started_it() -> None:
    program = "import os, signal, sys; from job.cli import main; {}; main.main = {}; main.run()"
    hang_up = (
        "type('', (), {'main': lambda *_, **__:"
        " (os.kill(os.getpid(), signal.SIGHUP), print('still here'))})"
    )
    for before, code, said in (
        ("0", 143, ""),
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN)", 0, "still here\n"),
    ):
        command = [sys.executable, "-c", program.format(before, hang_up)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert (result.returncode, result.stdout) == (code, said), result.stderr


def test_a_stop_in_an_exec_has_its_exit_code(tmp_path: Path) -> None:
    """As `python -m` and when a class is made from a text, which imports do."""
    text = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    program = f"""
from job.cli import main
main.main = type("", (), {{"main": lambda *_, **__: exec({text!r})}})
main.run()
"""
    (tmp_path / "stopped.py").write_text(program)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "stopped"]
    assert subprocess.run(command, cwd=ROOT, env=env, timeout=60).returncode == 143


def test_standard_output_on_a_full_disk_is_reported() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "job", "--help"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.returncode == 3
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_exception_of_a_library_is_one_line_without_secrets_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)

    def fail() -> None:
        raise KeyError(f"Credentials\n{secret}")

    monkeypatch.setitem(main.commands, "broken", click.Command("broken", callback=fail))
    assert run_command(["broken"]) == 1
    assert capsys.readouterr().err == (
        "error: unexpected KeyError: 'Credentials\\n***'."
        " Set DCGAN_TRACEBACK=1 to see the traceback\n"
    )
    monkeypatch.setenv("DCGAN_TRACEBACK", "1")
    assert run_command(["broken"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
