"""The Ray cluster of a run: a private one on this machine, or the one that ``RAY_ADDRESS`` names; and whether the workers fit in it.

A private cluster listens on loopback and asks for a token that only this run knows (docs/security.md), unless the user chose ``RAY_AUTH_MODE``.
"""

import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping

import ray
from ray._private import ray_constants

from job.config.errors import ConfigError, DcganError
from job.config.host import is_local, usable_cores
from job.config.spec import WorkerSpec
from job.launch.machine import bundle, local_cores, no_room, num_bundles

OBJECT_STORE_BYTES = 128 * 2**20  # only messages travel through Ray; images and weights never do
POLL_SECONDS = 1.0
KNOCK_SECONDS = 10.0
START_ATTEMPTS = 3  # Ray gives its processes 15 to 30 s to start, too little on a busy machine; a second attempt finds warm file caches


class ClusterFailed(DcganError):
    """Ray did not start on this machine."""


@contextlib.contextmanager
def cluster(
    workers: WorkerSpec, waiting: Callable[[str], None], *, verbose: bool = False
) -> Iterator[bool]:
    """Connect, wait for room, and leave again; a cluster started here ends here, on every way out. Yield whether this run is alone in it.

    ``waiting`` gets a text whenever the wait for something begins.
    """
    own = is_local()
    options = {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "ERROR"}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        try:
            _start(options, waiting) if own else _join(options, waiting)
        except SystemExit:  # ray.init installs its own SIGTERM handler, which ends it like this
            if callable(on_sigterm):
                on_sigterm(signal.SIGTERM, None)
            raise
        signal.signal(signal.SIGTERM, on_sigterm)
        waiting("room for the workers in the cluster")
        wait_for_room(workers, timeout_seconds=0.0 if own else workers.start_timeout_seconds)
        yield own
    finally:
        ray.shutdown()


def _start(options: Mapping[str, object], waiting: Callable[[str], None]) -> None:
    """Start a private cluster, with several attempts; ``ClusterFailed`` after the last, ``ConfigError`` if another attempt cannot help."""
    _close_to_others()
    begun = time.monotonic()
    what = "Ray to start on this machine"
    for attempt in range(1, START_ATTEMPTS + 1):
        waiting(what)
        try:
            with _ended_on_failure(), _deaf_to_hangup():
                ray.init(
                    address="local",
                    num_cpus=local_cores(),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    **options,
                )
            return
        except Exception as error:  # Ray raises plain Exception, too
            reason, seconds = _reason(error), time.monotonic() - begun
            if isinstance(error, OSError | ValueError) and not isinstance(
                error, ConnectionError | TimeoutError
            ):
                raise ConfigError(
                    f"Ray cannot start on this machine: {reason}. {_remedy(error)}"
                ) from error
            if attempt == START_ATTEMPTS:
                raise ClusterFailed(
                    f"Ray did not start on this machine in {attempt} attempts ({seconds:.0f} s): {reason.rstrip('.')}. The load is"
                    f" {os.getloadavg()[0]:.1f} on {usable_cores()} cores. Stop other programs or try again later; with -v Ray says more"
                ) from error
            what = f"Ray to start on this machine: attempt {attempt + 1} of {START_ATTEMPTS}, the last one failed ({reason.rstrip('.')})"


def _close_to_others() -> None:
    """Let the cluster that this process starts listen on loopback only, and refuse whoever lacks a fresh token."""
    # The switch for loopback, made for macOS and Windows (Ray 2.60). Ray reads the variable when it is imported, so it is set in both
    # places: here, and for the processes that are started from here.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    if not os.environ.get(
        "RAY_AUTH_MODE"
    ):  # then ray.init chooses tokens; chosen here, it would come too late for this process
        os.environ.pop(
            "RAY_AUTH_MODE", None
        )  # Ray takes an empty one for the choice of no authentication
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def _ended_on_failure() -> Iterator[None]:
    """End every process that was started inside if an exception leaves: Ray forgets those of a cluster that it could not finish."""
    import psutil  # Ray brings it

    before = set(psutil.Process().children(recursive=True))
    try:
        yield
    except BaseException:
        ray.shutdown()
        left = set(psutil.Process().children(recursive=True)) - before
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=KNOCK_SECONDS)
        raise


@contextlib.contextmanager
def _deaf_to_hangup() -> Iterator[None]:
    """Hold SIGHUP back for a while, and for good in the processes that are started inside, which inherit that.

    A closed terminal sends it to all of them, but the workers still have to save a last checkpoint.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remedy(error: Exception) -> str:
    if "AF_UNIX" in str(error):
        return "Its temporary folder has too long a path for Unix sockets: set RAY_TMPDIR to a short one, for example RAY_TMPDIR=/tmp"
    return "Check TMPDIR and the RAY_ variables; with -v Ray says more"


def _reason(error: BaseException) -> str:
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )


def _join(options: Mapping[str, object], waiting: Callable[[str], None]) -> None:
    address = os.environ["RAY_ADDRESS"].strip()
    waiting(f"the Ray cluster at {address}")
    try:
        _knock(address)  # Ray itself would try for minutes
        ray.init(address=address, **options)
    except (RuntimeError, OSError, ValueError) as error:  # ValueError: no address at all
        raise ConfigError(
            f"RAY_ADDRESS is {address}: no Ray cluster answers ({_reason(error)}); expected a running one, or unset RAY_ADDRESS"
        ) from error


def _knock(address: str) -> None:
    """Open and close a connection to ``host:port``; ``OSError`` where nothing listens. Other forms (``auto``) are left to Ray."""
    host, separator, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if separator and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def wait_for_room(workers: WorkerSpec, timeout_seconds: float) -> None:
    """Return when the cluster's nodes can hold every worker; ``ConfigError`` after ``timeout_seconds`` (a cluster may still be growing)."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if num_bundles(nodes, bundle(workers)) >= workers.min_workers:
            return
        if time.monotonic() >= deadline:
            waited = (
                f"after {timeout_seconds:.0f} s (workers.start_timeout_seconds) "
                if timeout_seconds
                else ""
            )
            raise no_room(
                workers,
                nodes,
                f"{waited}in a cluster of {len(nodes)} node{'' if len(nodes) == 1 else 's'}",
            )
        time.sleep(POLL_SECONDS)
