"""Processes for Ray that have their libraries loaded: forked from ones that load them only once.

Ray starts Python for every task and actor of a run, and each loads Ray, a worker also TensorFlow,
three seconds each. In a private cluster two servers load them beside Ray's start, one for what
needs Ray only, the other for what also needs TensorFlow. Ray's ``py_executable`` then is
``fork_client.py``, which asks one of them, at its socket in a private folder, for a process.

What a forked process must not share with others: threads (the libraries are kept from starting any,
and a server that has some does not fork), Ray's ids of job and raylet (Ray 2.60 reads them when it
is loaded, so a server loads it at the first request), and Ray's random ids (``_load_ray``). If a
request cannot be served, its connection is closed, and the client starts Python, as without a
server.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import resource
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

from job.config.host import is_local
from job.config.spec import WorkerSpec
from job.launch import fork_client
from job.launch.machine import WORKER_ENV

log = logging.getLogger("dcgan.launch")

SOCKETS, ERRORS = ("ray", "tensorflow"), "errors"
# What Ray Train loads of others, and what a worker loads.
PRELOADED = {"ray": ("pandas", "pyarrow.fs", "requests"), "tensorflow": ("job.training.worker",)}
WITH_RAY = ("job.launch.trainer", "job.launch.tensorflow_trainer")
# With the module path of the program instead of the current folder, as the command has it.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1));"
    " from job.launch.fork_server import main; main()"
)
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
    """Run the servers, if the workers will run on this machine and use no GPU."""
    if not is_local() or workers.gpus or sys.platform != "linux":
        yield Pythons()
        return
    with tempfile.TemporaryDirectory(
        prefix="dcgan-train-fork-", ignore_cleanup_errors=True
    ) as folder:
        try:
            process = _start(folder)
        except OSError as error:  # TMPDIR is too long for a socket, or no process can be started
            log.info("no fork server: %s", error)
            process = None
        try:
            yield Pythons(folder if process else "")
        finally:
            if process:
                _end(process, Path(folder, ERRORS))


def _start(folder: str) -> subprocess.Popen[bytes]:
    """Start the servers in their own process group, so that Ctrl-C does not end them."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in SOCKETS]
        for listener, name in zip(listeners, SOCKETS, strict=True):
            listener.bind(f"{folder}/{name}")
            listener.listen(128)
        numbers = [listener.fileno() for listener in listeners]
        errors = stack.enter_context(open(f"{folder}/{ERRORS}", "wb"))
        return subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, json.dumps(sys.path), *map(str, numbers)],
            stdin=subprocess.PIPE,  # closed when this process ends, and the servers end, too
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=numbers,
            env={**os.environ, **WORKER_ENV, **ONE_THREAD},
            process_group=0,
        )


def _end(process: subprocess.Popen[bytes], errors: Path) -> None:
    """Kill both servers. Processes that they forked are in the groups of their clients."""
    if process.poll() is not None:
        lines = errors.read_text(errors="replace").strip().splitlines() or [""]
        log.warning("the fork server ended early (%s): %s", process.returncode, lines[-1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def main() -> None:
    """Serve at the two sockets whose file numbers are the arguments, in two processes."""
    listeners = {
        name: socket.socket(fileno=int(number))
        for name, number in zip(SOCKETS, sys.argv[1:], strict=True)
    }
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forked processes
    _load(PRELOADED["ray"])
    name = "ray"
    if os.fork() == 0:
        name = "tensorflow"
        _load(PRELOADED[name])
    gc.freeze()  # so that collections do not copy shared pages
    folder = os.path.dirname(listeners[name].getsockname())
    if request := _next_request(listeners, name):
        script, *_ = sys.argv = request["arguments"]
        sys.path.insert(0, os.path.dirname(script))
        runpy.run_path(script, run_name="__main__")
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _load(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _load_ray() -> None:
    """Load what needs Ray, and leave Ray's generator of random ids unused.

    Ray's decorators draw an id for every class of an actor. A process that has drawn one shares
    the generator's state with what it forks: actors then read each other's objects (seen).
    """
    import ray.actor

    own = ray.actor.ActorClassID
    drawn = SimpleNamespace(from_random=lambda: own(os.urandom(own.size())))
    ray.actor.ActorClassID = drawn
    _load(WITH_RAY)
    ray.actor.ActorClassID = own
    gc.freeze()


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
                _load_ray()
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
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked_signals"])
    os.setpgid(0, request["group"])
    os.setpriority(os.PRIO_PROCESS, 0, request["priority"])
    resource.setrlimit(resource.RLIMIT_NOFILE, request["open_files"])
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(request.get("oom_score", ""))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.modules["numpy"].random.seed()  # other libraries may draw from it
    connection.sendall(b" ")
    connection.detach()  # stays open until this process ends
