"""The fork server by itself; ``test_life`` trains with its processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from job.config.spec import WorkerSpec
from job.launch import fork_client
from job.launch import fork_server as tested
from job.launch.fork_server import Pythons, fork_server
from tests.launch.program import descendants
from tests.servers.prometheus import wait_for

pytestmark = pytest.mark.slow  # loads Ray and TensorFlow

SCRIPT = """
import json, os, signal, sys
loaded = [name for name in ("ray", "tensorflow") if name in sys.modules]
facts = {
    "arguments": sys.argv[1:], "input": sys.stdin.read(), "folder": os.getcwd(), "loaded": loaded,
    "environment": dict(os.environ), "path": sys.path[0], "name": __name__, "pid": os.getpid(),
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "group": os.getpgrp(),
    "nice": os.nice(0),
    "handlers": [str(signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGCHLD)],
}
print(json.dumps(facts))
"""
ROOT = Path(__file__).parents[2]
RAY = {"RAY_JOB_ID": "01000000", "RAY_RAYLET_PID": "1"}


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pythons]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with fork_server(WorkerSpec()) as server:
            yield server


def command(pythons: Pythons, loaded: str, script: Path) -> str:
    """Return what Ray runs in a shell (``RuntimeEnvContext.exec_worker``)."""
    return f"exec {pythons.runtime_env({}, loaded)['py_executable']} {script} --name 'a b'"


def facts(
    pythons: Pythons, loaded: str, folder: Path, text: str = SCRIPT, **environment: str
) -> Any:
    script = folder / "script.py"
    script.write_text(text)
    ended = subprocess.run(
        ["nice", "-n", "3", "bash", "-c", command(pythons, loaded, script)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **RAY, **environment},
        input="from the standard input",
        capture_output=True,
        text=True,
        check=True,
        process_group=0,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]),
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    ("asked", "loaded"), [("ray", ["ray"]), ("tensorflow", ["ray", "tensorflow"])]
)
def test_a_script_runs_as_python_runs_it_with_its_libraries_loaded(
    pythons: Pythons, tmp_path: Path, asked: str, loaded: list[str]
) -> None:
    found = facts(pythons, asked, tmp_path, COLOUR="green")
    assert found["loaded"] == loaded
    assert found["arguments"] == ["--name", "a b"]
    assert found["input"] == "from the standard input"
    assert Path(found["folder"]) == Path(found["path"]) == tmp_path
    assert found["name"] == "__main__"
    assert found["environment"]["COLOUR"] == "green"
    assert "OPENBLAS_NUM_THREADS" not in found["environment"]
    assert found["blocked"] == [signal.SIGHUP]
    assert found["handlers"] == ["0", "0"]  # the default
    assert found["nice"] == os.nice(0) + 3
    assert found["group"] not in (os.getpgrp(), found["pid"])  # that of the client


DRAWN = """
import json, random, tempfile, threading, uuid
import numpy, ray
drawn = []
def draw():
    drawn.append(ray.UniqueID.from_random().hex())
    drawn.append(numpy.random.bytes(16).hex())
    drawn.append(uuid.uuid4().hex)
    drawn.append(str(random.random()))
    drawn.append(next(tempfile._get_candidate_names()))
draw()
thread = threading.Thread(target=draw)
thread.start()
thread.join()
print(json.dumps(drawn))
"""


@pytest.mark.parametrize("loaded", ["ray", "tensorflow"])
def test_forked_processes_draw_different_numbers(
    pythons: Pythons, tmp_path: Path, loaded: str
) -> None:
    """Ray's ids above all: with equal ones, workers read each other's objects."""
    drawn = [each for _ in range(3) for each in facts(pythons, loaded, tmp_path, DRAWN)]
    assert len(drawn) == len(set(drawn)) == 30


def test_modules_in_the_current_folder_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pandas.py").write_text("raise SystemExit('not pandas')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "path", [os.path.dirname(sys.executable), *sys.path[1:]])
    with fork_server(WorkerSpec()) as pythons:
        assert facts(pythons, "ray", tmp_path / "..")["loaded"] == ["ray"]


def test_a_server_that_died_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pandas.py").write_text("raise SystemExit('not pandas')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = _children()
    with fork_server(WorkerSpec()) as pythons:
        assert facts(pythons, "ray", tmp_path)["loaded"] == []  # Python did it
        wait_for("the end of the server", lambda: _children() <= before, 20)
    assert "the fork server ended early (1): not pandas" in caplog.text


@pytest.mark.parametrize("name", sorted(RAY))
def test_ray_with_another_job_or_raylet_gets_another_python(
    pythons: Pythons, tmp_path: Path, name: str
) -> None:
    assert facts(pythons, "ray", tmp_path)["loaded"] == ["ray"]
    found = facts(pythons, "ray", tmp_path, **{name: "2"})
    assert found["loaded"] == []
    assert found["arguments"] == ["--name", "a b"]


def test_without_a_server_python_runs_the_script(tmp_path: Path) -> None:
    found = facts(Pythons(str(tmp_path)), "ray", tmp_path)
    assert found["loaded"] == []
    assert found["input"] == "from the standard input"


def test_a_server_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_client, "START_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "ray"))
        server.listen()
        assert not fork_client.has_run(str(tmp_path / "ray"), ["script.py"])


def test_a_client_ends_with_its_process(pythons: Pythons, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    client = subprocess.Popen(
        ["bash", "-c", command(pythons, "ray", script)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **RAY},
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None
    pid = int(client.stdout.readline())
    assert pid != client.pid
    assert client.poll() is None
    os.kill(pid, signal.SIGKILL)
    assert client.wait(timeout=20) == 0


def test_a_process_with_threads_does_not_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    has_ended = threading.Event()
    thread = threading.Thread(target=has_ended.wait)
    thread.start()
    try:
        assert not tested._can_fork(RAY)
    finally:
        has_ended.set()
        thread.join()


def test_the_servers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\nfrom job.config.spec import WorkerSpec\n"
            "from job.launch.fork_server import fork_server\n"
            "with fork_server(WorkerSpec()) as server: print(server.folder, flush=True);"
            " time.sleep(600)",
        ],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline()
    program.kill()
    program.wait()
    deadline = time.monotonic() + 60
    while any(_session(path) == program.pid for path in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _children() -> set[int]:
    return {process.pid for process in descendants(os.getpid())}


def _session(process: Path) -> int:
    try:
        state, *_, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state == "Z" else int(session)


@pytest.mark.parametrize("reason", ["gpus", "address", "long path"])
def test_some_runs_have_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if reason == "address":
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    if reason == "long path":
        long = tmp_path / ("x" * 100)
        long.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(long))
    with fork_server(WorkerSpec(gpus=1 if reason == "gpus" else 0)) as pythons:
        assert pythons.runtime_env({"A": "1"}, "ray") == {"env_vars": {"A": "1"}}
