"""Processes for Ray that have their libraries loaded: forked from one that loads them only once.

Ray starts Python for every worker, and each loads Ray (3 s) and TensorFlow (3 s). In a private
cluster a fork server loads them while Ray itself starts. Ray's ``py_executable`` then is
``fork_client.py``, which asks for a process, at the start and after a worker died. Two processes
serve, each at a socket in a private folder: one forks what needs Ray only, the other what also
needs TensorFlow.

A process with several threads must not fork, so the libraries are kept from starting any, and
TensorFlow is loaded but not used. Ray (2.60) reads the ids of its job and raylet when it is loaded,
so a server loads it at the first request. If a request cannot be served, its connection is closed,
and the client starts Python, as without a server.

    python -m job.launch.fork_server RAY_SOCKET TENSORFLOW_SOCKET    # inherited file numbers
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from job.config.host import is_local
from job.config.spec import WorkerSpec
from job.launch import fork_client
from job.launch.machine import WORKER_ENV

SOCKETS = ("ray", "tensorflow")
# What Ray Train loads of others, and what a worker loads.
PRELOADED = {"ray": ("pandas", "pyarrow.fs", "requests"), "tensorflow": ("job.training.worker",)}
WITH_RAY = ("job.launch.trainer", "job.launch.tensorflow_trainer")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
READ_AT_LOAD = ("RAY_JOB_ID", "RAY_RAYLET_PID")
REQUEST_SECONDS = 10.0


class Pythons(NamedTuple):
    """The source of the Python processes that Ray starts for a run."""

    folder: str = ""
    """Of the fork server's sockets; empty: Ray starts Python."""

    def runtime_env(
        self, env_vars: Mapping[str, str], loaded: Literal["ray", "tensorflow"]
    ) -> dict[str, Any]:
        """Return Ray's ``runtime_env`` of a process with ``env_vars`` that needs ``loaded``."""
        env: dict[str, Any] = {"env_vars": dict(env_vars)}
        if self.folder:
            client = [sys.executable, "-I", "-S", fork_client.__file__, f"{self.folder}/{loaded}"]
            env["py_executable"] = shlex.join(client)
        return env


@contextlib.contextmanager
def fork_server(workers: WorkerSpec) -> Iterator[Pythons]:
    """Run a fork server, if the workers will run on this machine and use no GPU."""
    if not is_local() or workers.gpus or sys.platform != "linux":
        yield Pythons()
        return
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dcgan-train-fork-"))
        listeners = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in SOCKETS]
        try:
            for listener, name in zip(listeners, SOCKETS, strict=True):
                listener.bind(f"{folder}/{name}")
                listener.listen(128)
        except OSError:  # TMPDIR is too long for a socket
            yield Pythons()
            return
        numbers = [listener.fileno() for listener in listeners]
        process = subprocess.Popen(
            [sys.executable, "-m", "job.launch.fork_server", *map(str, numbers)],
            stdin=subprocess.PIPE,  # closed when this process ends, and the server ends, too
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # TensorFlow reports at once that it found no GPU
            pass_fds=numbers,
            env={**os.environ, **WORKER_ENV, **ONE_THREAD},
        )
        for listener in listeners:
            listener.close()
        try:
            yield Pythons(folder)
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    listeners = {
        name: socket.socket(fileno=int(number))
        for name, number in zip(SOCKETS, sys.argv[1:], strict=True)
    }
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forked processes
    _load(PRELOADED["ray"])
    name, other = "ray", os.fork()
    if other == 0:
        name = "tensorflow"
        _load(PRELOADED[name])
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    gc.freeze()  # so that collections do not copy shared pages
    own = os.getpid()
    try:
        request = _next_request(listeners, name)
    finally:
        if other and os.getpid() == own:
            os.kill(other, signal.SIGKILL)
    if request:
        script, *_ = sys.argv = request["arguments"]
        sys.path[0] = os.path.dirname(script)
        runpy.run_path(script, run_name="__main__")


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)


def _next_request(listeners: Mapping[str, socket.socket], name: str) -> dict[str, Any] | None:
    """Serve; return None when the program has ended, and in each forked process its request."""
    listener = listeners[name]
    others = [each.getsockname() for each in listeners.values() if each is not listener]
    for each in listeners.values():
        if each is not listener:
            each.close()
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        request, streams = _receive(connection)
        if request:
            arguments, environment = request["arguments"], request["environment"]
            if "ray" not in sys.modules:
                os.environ.update(environment)
                if arguments:
                    _ask_to_load(others, environment)
                _load(WITH_RAY)
            if arguments and _can_fork(environment) and os.fork() == 0:
                listener.close()
                _become(request, streams, connection)
                return request
        connection.close()
        for number in streams:
            os.close(number)
    return None


def _ask_to_load(servers: Iterable[str], environment: Mapping[str, str]) -> None:
    """Ask the other server to load Ray now: it will get a request soon."""
    for address in servers:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            server.connect(address)
            fork_client.send(server, {"arguments": [], "environment": dict(environment)})


def _receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return a client's request, or None for half of one, and its standard streams."""
    streams: list[int] = []
    connection.settimeout(REQUEST_SECONDS)
    try:
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        return json.loads(connection.makefile("rb").readline()), streams
    except (OSError, ValueError):
        return None, streams


def _can_fork(environment: Mapping[str, str]) -> bool:
    """Return True if Ray is loaded with these settings, and there are no other threads."""
    is_same = all(os.environ.get(name) == environment.get(name) for name in READ_AT_LOAD)
    return is_same and len(os.listdir("/proc/self/task")) == 1


def _become(request: Mapping[str, Any], streams: list[int], connection: socket.socket) -> None:
    """Turn this forked process into the one that the client asked for, and say so."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked_signals"])
    os.setpgid(0, request["group"])
    os.setpriority(os.PRIO_PROCESS, 0, request["priority"])
    resource.setrlimit(resource.RLIMIT_NOFILE, request["open_files"])
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(request.get("oom_score", ""))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    connection.sendall(b" ")
    connection.detach()  # stays open until this process ends


if __name__ == "__main__":
    main()
