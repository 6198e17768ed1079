"""``dcgan-train status``: its output on a terminal, in a pipe and as JSON; both readers' errors."""

import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from datetime import UTC, datetime
from fcntl import ioctl
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.cli.status import lines, sparkline
from job.config.storage import StorageSpec
from job.report.status import RunStatus, read_status
from job.run import attempts, lease
from job.run.layout import CONFIGURATION, METRICS, REPORT, STATUS
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.report.runs import TOTAL, Clock, configuration, facts, started, troubled_run
from tests.servers.s3 import S3Server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "garments"
    troubled_run(open_store(str(folder)))
    return folder


def half(store: ObjectStore) -> attempts.Attempt:
    start = attempts.begin(store, facts())
    store.write(CONFIGURATION, configuration())
    with started(store, start.stamp, 0, Clock(datetime.now(UTC).timestamp() - 120)) as course:
        course.sample()
        course.train(2400)
    return start


def on_a_terminal(arguments: list[str], columns: int, seconds: float = 60.0) -> str:
    """Return the program's output on a terminal of ``columns``, without colours."""
    parent, child = pty.openpty()
    ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")
    } | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "job", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=child, stderr=child, env=env) as process:
        os.close(child)
        output, deadline = b"", time.monotonic() + seconds
        try:
            while (
                time.monotonic() < deadline
                and select.select([parent], [], [], max(0.0, deadline - time.monotonic()))[0]
            ):
                try:
                    output += os.read(parent, 65536)
                except OSError:  # EIO: nobody writes any more
                    break
            assert process.wait(10) == 0, output.decode()
        finally:
            process.kill()
            os.close(parent)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()).replace("\r", "")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
def test_a_terminal_shows_state_speed_losses_and_what_is_next(done: Path, columns: int) -> None:
    lines = on_a_terminal(["status", str(done)], columns).splitlines()
    assert lines[0] == f"done  {done}"
    values = {line[:13].strip(): line[15:] for line in lines[1:] if line[:1].strip()}
    assert list(values) == [
        "step",
        "last speed",
        "D loss",
        "G loss",
        "D(x), D(G(z))",
        "quality",
        "goodput",
        "checkpoint",
        "incidents",
        "newest grid",
        "next",
    ]
    assert values["step"].startswith("6,000 of 6,000, 100%  ━━━")
    assert re.fullmatch(
        r"1,\d{3} images/s, 2 workers, 54 ms a step, 7% waiting for images", values["last speed"]
    )
    assert re.fullmatch(r"0\.\d+ +[▁▂▃▄▅▆▇█]{40,60}", values["D loss"])
    assert values["quality"] == "diversity 0.3"
    assert values["checkpoint"].startswith("step 6,000, ")
    assert values["incidents"] == "1 restart, 1 rollback, 1 hang; started 2 times"
    for label in ("step", "last speed", "D loss", "G loss", "checkpoint", "incidents"):
        assert len(values[label]) + 15 <= columns, label


@pytest.mark.slow
def test_a_pipe_gets_whole_lines(done: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "job", "status", str(done)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "40"},
    )
    assert "\x1b" not in result.stdout
    assert f"newest grid    file://{done}/samples/step-000006000.png\n" in result.stdout
    assert (
        f"next           dcgan-train generate {done} --num 100 --format grid --out images.png\n"
        in result.stdout
    )


@pytest.mark.slow
def test_watching_follows_the_run_to_its_end(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    start = half(store)
    held = lease.acquire(store, 30.0, note=print)
    command = [
        sys.executable,
        "-m",
        "job",
        "status",
        str(tmp_path / "run"),
        "--watch",
        "--json",
        "--every",
        "0.5",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            reports = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert [report["state"] for report in reports] == ["running", "running"]
            start.end("failed", "step 740: generator_loss is nan", 4)
            held.close()
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    last = json.loads(rest.splitlines()[-1])
    assert (last["state"], last["why"], last["checkpoint_step"]) == (
        "failed",
        "step 740: generator_loss is nan",
        2000,
    )
    assert process.returncode == 0


@pytest.mark.slow
def test_watching_on_a_terminal_ends_with_the_run(done: Path) -> None:
    assert "done" in on_a_terminal(["status", str(done), "--watch"], 100)


def test_a_script_gets_json(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["status", str(done), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["state"], printed["step"], printed["total_steps"], printed["seconds_left"]) == (
        "done",
        TOTAL,
        TOTAL,
        None,
    )
    assert printed["values"]["dcgan_restarts_total"] == 1


def shown(found: RunStatus) -> dict[str, str]:
    return {
        line.plain[:13].strip(): line.plain[15:]
        for line in lines(found, "runs/one", StorageSpec(), 120)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "every_seconds", "is_quiet"),
    [(20, 10.0, False), (7200, 10.0, True), (100, 120.0, False), (500, 120.0, True)],
)
def test_a_quiet_run_is_not_shown_as_if_it_made_progress(
    tmp_path: Path, seconds: float, every_seconds: float, is_quiet: bool
) -> None:
    store = open_store(str(tmp_path / "run"))
    half(store)
    stored = json.loads(store.read(STATUS))
    time_of_report = datetime.fromtimestamp(time.time() - seconds, UTC).isoformat()
    store.write(
        STATUS,
        json.dumps(stored | {"time": time_of_report, "every_seconds": every_seconds}).encode(),
    )
    with lease.acquire(store, 30.0, note=print):
        found = read_status(store)
    assert (found.state, found.is_quiet, found.seconds_left is None) == (
        "running",
        is_quiet,
        is_quiet,
    )
    lines_shown = shown(found)
    assert ("last speed" in lines_shown, "speed" in lines_shown) == (is_quiet, not is_quiet)
    assert ("left" in lines_shown["step"]) == (not is_quiet)
    [line] = [
        line
        for line in lines(found, "runs/one", StorageSpec(), 120)
        if line.plain.startswith("last word")
    ]
    assert ("yellow" in str(line.spans)) == is_quiet
    if seconds == 7200:
        assert (
            line.plain[15:]
            == "2 hours ago (expected every 10 s; it may hang, or not reach this folder: see its"
            " log)"
        )
    if not is_quiet:
        assert re.fullmatch(r"\d+ s ago", line.plain[15:])


SECONDS = {
    "seconds": 282.0,
    "useful_seconds": 228.0,
    "lost_seconds": 17.0,
    "starting_seconds": 33.0,
    "saving_seconds": 2.0,
    "sampling_seconds": 1.0,
}


def test_goodput_names_what_took_a_percent_of_the_rest() -> None:
    found = RunStatus("runs/one", "running", goodput=0.81, goodput_seconds=SECONDS)
    assert shown(found)["goodput"] == "81% of 4:42, starting 12%, lost steps 6%, saving 1%"
    assert "goodput" not in shown(RunStatus("runs/one", "running"))


def test_compiling_may_take_a_while(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    half(store)
    stored = json.loads(store.read(STATUS))
    stored |= {
        "time": datetime.fromtimestamp(time.time() - 300, UTC).isoformat(),
        "progress": stored["progress"] | {"phase": "compile"},
    }
    store.write(STATUS, json.dumps(stored).encode())
    with lease.acquire(store, 30.0, note=print):
        assert not read_status(store).is_quiet


def test_the_age_of_a_finished_run_is_not_shown(done: Path) -> None:
    assert "last word" not in shown(read_status(open_store(str(done))))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, None),
        ({"dcgan_step": 3.0, "dcgan_data_diversity": 0.3}, None),
        ({"dcgan_sample_diversity": 0.25}, "diversity 0.25"),
        ({"dcgan_sample_diversity": 0.24, "dcgan_data_diversity": 0.0}, "diversity 0.24"),
        (
            {"dcgan_sample_diversity": 0.24, "dcgan_data_diversity": 0.32},
            "diversity 0.24, 0.75 of the data set's 0.32",
        ),
        (
            {"dcgan_sample_diversity": 0.24, "dcgan_quality_frechet_distance": 12.34567},
            "diversity 0.24, frechet distance 12.3",
        ),
    ],
)
def test_quality_shows_the_known_scores(values: dict[str, float], text: str | None) -> None:
    assert shown(RunStatus("runs/one", "running", values=values)).get("quality") == text


def odd_picture(store: ObjectStore) -> None:
    store.write("samples/step-\u00b2\u00b3.png", b"")
    store.write(f"samples/step-{'9' * 200}.png", b"")


def deep_summary(store: ObjectStore) -> None:
    for entry in list(store.list("starts/")):
        store.delete(entry.key)
    store.write("summary.json", b"[" * 200_000)


def large_steps(store: ObjectStore) -> None:
    store.write("divergences/step-1.json", b'{"step": 1%s}' % (b"0" * 400))
    for entry in list(store.list("starts/")):
        store.write(entry.key, b'{"step": 1%s}' % (b"0" * 400))


def odd_numbers(store: ObjectStore) -> None:
    row = {
        "row": 1,
        "time": "x",
        "phase": "train",
        "dcgan_generator_loss": 5e-324,
        "dcgan_generator_gradient_norm": 5e-324,
    }
    rows = [
        row | {"start": "z-\u00b2", "step": 7000},
        row | {"start": "zz-\u00b3", "step": 7001, "dcgan_generator_gradient_norm": 1.0},
    ]
    store.write(METRICS, b"".join(json.dumps(row).encode() + b"\n" for row in rows))


@pytest.mark.slow
@pytest.mark.parametrize("change", [odd_picture, deep_summary, large_steps, odd_numbers])
@pytest.mark.parametrize("command", ["status", "report"])
def test_no_folder_breaks_a_reader(
    done: Path, tmp_path: Path, change: Callable[[ObjectStore], None], command: str
) -> None:
    shutil.copytree(done, tmp_path / "odd")
    change(open_store(str(tmp_path / "odd")))
    assert run_command([command, str(tmp_path / "odd")]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ("stopped", "run the same command again to resume from the last checkpoint"),
        ("failed", "fix the error above, then run the same command again"),
    ],
)
def test_what_to_do_next(
    tmp_path: Path, outcome: attempts.Outcome, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    half(open_store(str(tmp_path / "run"))).end(outcome, "the disk is full")
    assert run_command(["status", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert f"next           {text}" in out
    assert ("why            the disk is full" in out) == (outcome == "failed")


@pytest.mark.parametrize("command", ["status", "report"])
def test_without_a_run_the_exit_code_is_3(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([command, str(tmp_path / "none")]) == 3
    assert "none: no run there; expected a run folder" in capsys.readouterr().err
    assert run_command([command, ""]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_a_run_on_s3(
    s3_env: S3Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = f"s3://{s3_env.new_bucket()}/runs/one"
    troubled_run(open_store(run))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    endpoint = ["--endpoint-url", s3_env.endpoint_url]
    assert run_command(["status", run, *endpoint]) == 0
    out = capsys.readouterr().out
    assert f"newest grid    {run}/samples/step-000006000.png" in out
    assert f"--out images.png --endpoint-url {s3_env.endpoint_url}" in out
    assert run_command(["report", run, *endpoint]) == 0
    assert capsys.readouterr().out == f"{run}/{REPORT}\n"
    assert run_command(["report", run, "--out", str(tmp_path / "here.html"), *endpoint]) == 0
    assert (tmp_path / "here.html").read_bytes().startswith(b"<!doctype html>")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "report"])
def test_no_framework_is_loaded(done: Path, command: str) -> None:
    code = (
        "import sys; from job.cli.main import run_command; assert run_command(sys.argv[1:]) == 0;"
        "print('loaded:', *({'tensorflow', 'keras', 'ray', 'boto3', 'scipy'} & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, command, str(done)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1].split() == ["loaded:"]


@pytest.mark.parametrize(
    ("values", "columns", "bars"),
    [
        ([], 5, ""),
        ([1.0], 5, "▁"),
        ([2.0, 2.0], 5, "▁▁"),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8, "▁▂▃▄▅▆▇█"),
        ([0.0, 0.0, 10.0, 10.0], 2, "▁█"),
    ],
)
def test_a_sparkline_has_the_shape_of_its_values(
    values: list[float], columns: int, bars: str
) -> None:
    assert sparkline(values, columns) == bars
