"""The Ray cluster of a run: one of our own on this machine, or the one that ``RAY_ADDRESS`` names; and whether the workers have room in it."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping

import ray

from job.config.errors import ConfigError
from job.config.spec import WorkerSpec
from job.launch.machine import bundle, is_local, local_cores, no_room, num_bundles

OBJECT_STORE_BYTES = 128 * 2**20  # only messages travel through Ray; images and weights never do
POLL_SECONDS = 1.0
KNOCK_SECONDS = 10.0


@contextlib.contextmanager
def cluster(workers: WorkerSpec, *, verbose: bool = False) -> Iterator[bool]:
    """Connect, wait for room, and leave again; a cluster started here ends here, on every way out. Gives whether this run is alone in it."""
    own = is_local()
    options = {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "ERROR"}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        try:
            _start(options) if own else _join(options)
        except SystemExit:  # ray.init puts a SIGTERM handler of its own in place of ours, and that is how it ends
            if callable(on_sigterm):
                on_sigterm(signal.SIGTERM, None)
            raise
        signal.signal(signal.SIGTERM, on_sigterm)
        wait_for_room(workers, timeout_seconds=0.0 if own else workers.start_timeout_seconds)
        yield own
    finally:
        ray.shutdown()


def _start(options: Mapping[str, object]) -> None:
    # Nobody else talks to a cluster that lives as long as this command, so it needs no token; said explicitly, as Ray's default changes.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=local_cores(), include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **options)


def _join(options: Mapping[str, object]) -> None:
    address = os.environ["RAY_ADDRESS"]
    try:
        _knock(address)  # Ray itself would try for minutes
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"RAY_ADDRESS is {address}: no Ray cluster answers ({reason}); expected a running one, or unset RAY_ADDRESS"
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
        if num_bundles(nodes, bundle(workers)) >= workers.fewest:
            return
        if time.monotonic() >= deadline:
            waited = f"after {timeout_seconds:.0f} s (workers.start_timeout_seconds) " if timeout_seconds else ""
            raise no_room(workers, nodes, f"{waited}in a cluster of {len(nodes)} node{'' if len(nodes) == 1 else 's'}")
        time.sleep(POLL_SECONDS)
