"""``dcgan-train jobs``: exit codes, safe output, and Ctrl-C while following on a terminal."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from job.cli.main import run_command
from tests.launch.program import START_SECONDS, started
from tests.servers.scripted_ray import Job, ScriptedRay, scripted_ray

AGAIN_SECONDS = 10.0
STOPPED = "job first was stopped\nthe last checkpoint is step 50; the same command resumes"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedRay]:
    with scripted_ray() as running:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", running.url)
        yield running


@pytest.mark.parametrize(
    ("status", "exit_code", "message", "code", "end"),
    [
        ("SUCCEEDED", 0, "", 0, "job first succeeded"),
        ("FAILED", 3, "", 3, "job first failed with exit code 3; its log has the reason"),
        ("FAILED", -9, "", 137, "job first failed with exit code 137; its log has the reason"),
        ("FAILED", None, "no space\nleft", 1, "job first failed: no space left"),
        ("FAILED", None, "x" * 2000, 1, f"job first failed: {'x' * 1000}..."),
        ("STOPPED", None, "", 143, "job first was stopped"),
    ],
)
def test_the_exit_code_is_that_of_the_job(
    ray: ScriptedRay,
    status: str,
    exit_code: int | None,
    message: str,
    code: int,
    end: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ray.jobs["first"] = Job(["step 1\n"], status, exit_code, message)
    with pytest.raises(SystemExit) as ended:
        run_command(["jobs", "logs", "--follow", "first"])
    assert ended.value.code == code
    captured = capsys.readouterr()
    assert captured.out == "step 1\n"
    assert captured.err == f"{end}\n"


@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_a_log_cannot_control_the_terminal(
    ray: ScriptedRay, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ray.jobs["first"] = Job(
        ["\x1b[36mred\x1b[0m\r\na\tb\n", "\x1b[2J\x0b\u2028\x07\n", "\u202eabc"]
    )
    with contextlib.suppress(SystemExit):
        run_command(["jobs", "logs", "first", *options])
    said = capsys.readouterr().out
    assert said == "red\na       b\n\\x1b[2J\\x0b\\u2028\\x07\n\\u202eabc\n"


def test_the_list_fits_into_80_columns(
    ray: ScriptedRay, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["jobs", "list"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"no jobs at {ray.url}\n")
    long = f"{'a' * 20}-20260101-000000"
    ray.jobs = {
        long: Job([], "FAILED", 3, has_ended=True),
        "b": Job([], status=None),
    }
    assert run_command(["jobs", "list"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "state", "started", "took"]
    assert re.fullmatch(rf"{long}  failed \(3\)  20\d\d-\d\d-\d\d \d\d:\d\d  +1:02:05", first)
    assert re.match(r"b +running  20", second)
    assert max(map(len, (header, first, second))) <= 80


def test_stop_says_which_checkpoint_is_the_last(
    ray: ScriptedRay, capsys: pytest.CaptureFixture[str]
) -> None:
    ray.jobs["first"] = Job(["step 50\n"], status=None)
    assert run_command(["jobs", "stop", "first"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "stopping job first: waiting for its last checkpoint\n"
    assert captured.out.startswith(STOPPED)
    assert run_command(["jobs", "stop", "first"]) == 0
    assert capsys.readouterr().out == "nothing to stop: job first was stopped\n"


def test_stop_of_a_job_that_was_killed_while_it_saved(
    ray: ScriptedRay, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.servers.scripted_ray.STOP_LINE", "")
    ray.jobs["first"] = Job(["step 50\n"], status=None)
    assert run_command(["jobs", "stop", "first"]) == 0
    assert "its log names no last checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--address", ""], "is not set; expected the URL of its dashboard"),
        (["list", "--address", "auto"], "is auto; expected the URL of its dashboard, such as http"),
        (["list", "--address", "head:8265"], "is head:8265; expected the URL"),
        (["list", "--address", "ray://head:10001"], "is ray://head:10001; expected the URL"),
        (["list", "--address", "http://head:x"], "is http://head:x; expected the URL"),
        (["list", "--address", "http://"], "is http://; expected the URL"),
        (["list", "--address", "http://me:secret@head:8265"], "holds a user or password; expected"),
        (["stop", "none"], "none: no such job at http://127.0.0.1"),
        (["logs", "none"], "none: no such job at http://127.0.0.1"),
        (["logs", "--follow", "none"], "none: no such job at http://127.0.0.1"),
        (["logs", ""], "the job's id is ''; expected one that"),
    ],
)
def test_a_wrong_address_or_id_is_one_line(
    ray: ScriptedRay, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["jobs", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "secret" not in said


class Terminal:
    """The program with a pseudo-terminal as its standard streams."""

    def __init__(self, process: subprocess.Popen[bytes], master: int):
        self.process, self.master, self.output = process, master, ""

    def wait_for_text(self, text: str) -> None:
        while text not in self.output:
            readable, _, _ = select.select([self.master], [], [], START_SECONDS)
            assert readable, f"no {text!r} after {START_SECONDS:.0f} s: {self.output}"
            try:
                piece = os.read(self.master, 4096)
            except OSError:  # the other end is closed
                raise AssertionError(f"ended without {text!r}: {self.output}") from None
            self.output += piece.decode()

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def answer(self, keys: bytes) -> int:
        """Press ``keys`` at a prompt until the program ends; return its exit code.

        Python loses a signal in the moment before it waits for keys; a user would press again.
        """
        while True:
            self.press(keys)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(AGAIN_SECONDS)


@contextmanager
def terminal(arguments: list[str]) -> Iterator[Terminal]:
    """Start the program in a new session; its terminal turns Ctrl-C into SIGINT."""
    master, slave = os.openpty()
    take_terminal = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    become = f"{take_terminal}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", become, "-m", "job", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "said", "is_stopped"),
    [
        (b"s\n", STOPPED.replace("\n", "\r\n"), True),
        (b"x\nS\n", "the last checkpoint is step 50", True),
        (b"\n", "job first keeps running", False),
        (b"\x03", "job first keeps running", False),
        (b"\x04", "job first keeps running", False),
    ],
    ids=["stop", "wrong answer, stop", "enter", "second Ctrl-C", "end of input"],
)
def test_ctrl_c_asks_if_the_job_is_to_be_stopped(
    ray: ScriptedRay, answer: bytes, said: str, is_stopped: bool
) -> None:
    ray.jobs["first"] = Job(["step 50\n"], status=None)
    with terminal(["jobs", "logs", "-f", "first"]) as shown:
        shown.wait_for_text("step 50")
        shown.press(b"\x03")
        shown.wait_for_text("stop the job, or leave it running? [s/L]: ")  # it reads now
        assert shown.answer(answer) == 130
        shown.wait_for_text(said)
    assert ray.jobs["first"].has_ended == is_stopped


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_without_a_terminal_the_job_keeps_running(
    ray: ScriptedRay, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    ray.jobs["first"] = Job(["step 50\n"], status=None)
    env = dict(os.environ)
    with started(["jobs", "logs", "-f", "first"], tmp_path / "log", env) as program:
        program.wait_for_text("step 50")
        program.send(number)
        assert program.exit_code() == code
        assert "job first keeps running\nfollow:  " in program.output
        assert f"jobs stop first --address {ray.url}\n" in program.output
    assert not ray.jobs["first"].has_ended


@pytest.mark.slow
def test_sigterm_on_a_terminal_does_not_ask(ray: ScriptedRay) -> None:
    ray.jobs["first"] = Job(["step 50\n"], status=None)
    with terminal(["jobs", "logs", "-f", "first"]) as shown:
        shown.wait_for_text("step 50")
        shown.process.terminate()
        shown.wait_for_text("job first keeps running")
        assert shown.process.wait(60) == 143
    assert "stop the job" not in shown.output
