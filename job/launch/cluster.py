"""The Ray cluster of a run: a private one on this machine, or the one that ``RAY_ADDRESS`` names.

A private cluster listens on loopback and requires a token that only this run knows
(docs/security.md), unless the user sets ``RAY_AUTH_MODE``.
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
from job.config.text import counted
from job.launch.machine import bundle, local_cores, no_room, num_bundles

OBJECT_STORE_BYTES = 128 * 2**20  # only messages travel through Ray; images and weights never do
POLL_SECONDS = 1.0
CONNECT_SECONDS = 10.0
# Ray gives its processes 15 to 30 s to start, too little on a busy machine; a second attempt finds
# warm file caches.
START_ATTEMPTS = 3


class ClusterFailed(DcganError):
    """Ray did not start on this machine."""


@contextlib.contextmanager
def cluster(
    workers: WorkerSpec, waiting: Callable[[str], None], *, verbose: bool = False
) -> Iterator[bool]:
    """Connect and wait for room; on every exit, disconnect and end a private cluster.

    Yields True for a private cluster. ``waiting`` gets a text whenever a wait begins.
    """
    with connection(waiting, verbose=verbose) as own:
        waiting("room for the workers in the cluster")
        wait_for_room(workers, timeout_seconds=0.0 if own else workers.start_timeout_seconds)
        yield own


@contextlib.contextmanager
def connection(waiting: Callable[[str], None], *, verbose: bool = False) -> Iterator[bool]:
    """Start or join the cluster, as ``cluster`` does, without a wait for room."""
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
        yield own
    finally:
        ray.shutdown()


def _start(options: Mapping[str, object], waiting: Callable[[str], None]) -> None:
    """Start a private cluster, in several attempts.

    Raises ``ClusterFailed`` after the last, ``ConfigError`` if another attempt cannot help.
    """
    _restrict_access()
    begun = time.monotonic()
    what = "Ray to start on this machine"
    for attempt in range(1, START_ATTEMPTS + 1):
        waiting(what)
        try:
            with _killing_leftovers(), _blocking_hangup():
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
                    f"Ray did not start on this machine in {attempt} attempts ({seconds:.0f} s):"
                    f" {reason.rstrip('.')}. The load is {os.getloadavg()[0]:.1f} on"
                    f" {usable_cores()} cores. Stop other programs or try again later; with -v Ray"
                    " says more"
                ) from error
            what = (
                f"Ray to start on this machine: attempt {attempt + 1} of {START_ATTEMPTS},"
                f" the last one failed ({reason.rstrip('.')})"
            )


def _restrict_access() -> None:
    """Make Ray listen on loopback only, and require a fresh token."""
    # The switch for loopback, made for macOS and Windows (Ray 2.60). Ray reads the variable when it
    # is imported, so it is set both here and for the processes that are started from here.
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    # Without RAY_AUTH_MODE ray.init chooses tokens; set here, it is too late for this process.
    if not os.environ.get("RAY_AUTH_MODE"):
        os.environ.pop("RAY_AUTH_MODE", None)  # to Ray, an empty one means no authentication
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def _killing_leftovers() -> Iterator[None]:
    """At an exception, kill the processes started inside: Ray forgets those of a failed start."""
    import psutil

    before = set(psutil.Process().children(recursive=True))
    try:
        yield
    except BaseException:
        ray.shutdown()
        left = set()  # not what other children started meanwhile, as the fork server
        for child in set(psutil.Process().children()) - before:
            with contextlib.suppress(psutil.NoSuchProcess):
                left |= {child, *child.children(recursive=True)}
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=CONNECT_SECONDS)
        raise


@contextlib.contextmanager
def _blocking_hangup() -> Iterator[None]:
    """Block SIGHUP in the processes that are started inside, which inherit the mask.

    A closed terminal sends it to all of them, but the workers have to save a last checkpoint.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remedy(error: Exception) -> str:
    if "AF_UNIX" in str(error):
        return (
            "Its temporary folder has too long a path for Unix sockets: set RAY_TMPDIR to a short"
            " one, for example RAY_TMPDIR=/tmp"
        )
    return "Check TMPDIR and the RAY_ variables; with -v Ray says more"


def _reason(error: BaseException) -> str:
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )


def _join(options: Mapping[str, object], waiting: Callable[[str], None]) -> None:
    address = os.environ["RAY_ADDRESS"].strip()
    waiting(f"the Ray cluster at {address}")
    try:
        _check_reachable(address)  # Ray itself would try for minutes
        ray.init(address=address, **options)
    except (RuntimeError, OSError, ValueError) as error:  # ValueError: no address at all
        raise ConfigError(
            f"RAY_ADDRESS is {address}: no Ray cluster responds ({_reason(error)}); expected a"
            " running one, or unset RAY_ADDRESS"
        ) from error


def _check_reachable(address: str) -> None:
    """Raise ``OSError`` if nothing listens at ``host:port``. Ray checks other forms (``auto``)."""
    host, separator, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if separator and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def wait_for_room(workers: WorkerSpec, timeout_seconds: float) -> None:
    """Return when all workers fit, as a cluster may grow; ``ConfigError`` after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        nodes = alive_nodes()
        if num_bundles(nodes, bundle(workers)) >= workers.min_workers:
            return
        if time.monotonic() >= deadline:
            where = f"in a cluster of {counted(len(nodes), 'node')}"
            if timeout_seconds:
                where = f"after {timeout_seconds:.0f} s (workers.start_timeout_seconds) {where}"
            raise no_room(workers, nodes, where)
        time.sleep(POLL_SECONDS)


def alive_nodes() -> list[dict[str, float]]:
    """Return the resources of each node of the joined cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
