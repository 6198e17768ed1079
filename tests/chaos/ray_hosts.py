"""A Ray cluster of several hosts (``network``): one with the head, the others for one worker each.

A host's Ray that ends is started again, as Kubernetes and systemd do it, unless the host is down.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import Popen

from tests.chaos.network import Host, Network, network
from tests.launch.program import Program, environment
from tests.launch.ray_head import BIN
from tests.servers.process import server_process
from tests.servers.prometheus import wait_for
from tests.servers.s3 import S3Server, s3_server
from tests.servers.tools import ROOT

PORT = 6379
_OPTIONS = [
    "--block",
    "--disable-usage-stats",
    f"--object-store-memory={100 * 2**20}",
    "--include-log-monitor=false",
    "--metrics-export-port=8090",
]
_AGAIN_SECONDS = 2.0


class RayHosts:
    """``head`` and ``workers``; nothing is started yet."""

    def __init__(
        self,
        net: Network,
        server: S3Server,
        num_workers: int,
        folder: Path,
        stack: ExitStack,
        drain_seconds: float,
    ):
        self.server = server
        self._stack, self._folder = stack, folder
        self.head = net.new_host("head", folder / "head")
        self.workers = [
            net.new_host(f"worker-{i}", folder / f"worker-{i}") for i in range(num_workers)
        ]
        self.env: Mapping[str, str] = environment(
            Path("/tmp"),
            **server.env(),
            PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            PYTHONPATH=str(ROOT),
            RAY_AUTH_MODE="disabled",
            RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=f"{drain_seconds:g}",
        )
        self._up: dict[str, tuple[Popen[bytes], float]] = {}

    @property
    def address(self) -> str:
        return f"{self.head.address}:{PORT}"

    def start(self) -> None:
        """Ray on every host, the head answering."""
        self.start_host(self.head)
        wait_for("the head", self._answers, 90)
        for host in self.workers:
            self.start_host(host)

    def start_host(self, host: Host) -> None:
        """Power and link are there: the host is up, and stays so."""
        host.restore()
        self._start_ray(host)

    def kill(self, host: Host) -> None:
        """End all its processes, as a pod ends; it is down until ``start_host``."""
        self._up.pop(host.name, None)
        host.kill()

    def lose(self, host: Host) -> None:
        """The host loses power, no connection is closed; it is down until ``start_host``."""
        host.cut()
        self.kill(host)

    def drain(self, host: Host) -> None:
        """Send SIGTERM to its ``ray start --block``, as a pod gets it; restart it afterwards."""
        self._up[host.name][0].send_signal(signal.SIGTERM)

    def tend(self) -> None:
        """Start again what has ended."""
        for host in (self.head, *self.workers):
            process, since = self._up.get(host.name, (None, 0.0))
            if (
                process is not None
                and process.poll() is not None
                and time.monotonic() - since > _AGAIN_SECONDS
            ):
                host.kill()  # a container's other processes end with its first
                self._start_ray(host)

    def submit(self, arguments: list[str], log: Path) -> Program:
        """The program on the head's host, on this cluster."""
        command = [*self.head.enter, sys.executable, "-m", "job", *arguments]
        return Program(
            self._popen(command, log.stem, dict(self.env) | {"RAY_ADDRESS": self.address}, log), log
        )

    def host_at(self, address: str) -> Host:
        return next(host for host in (self.head, *self.workers) if host.address == address)

    def _start_ray(self, host: Host) -> None:
        role = ["--head", f"--port={PORT}", "--include-dashboard=false", "--num-cpus=0"]
        if host is not self.head:
            role = [f"--address={self.address}", "--num-cpus=1"]
        command = [
            *host.enter,
            str(BIN / "ray"),
            "start",
            *role,
            f"--node-ip-address={host.address}",
            *_OPTIONS,
        ]
        self._up[host.name] = self._popen(command, host.name), time.monotonic()

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.head.address, PORT), timeout=1):
            return True
        return False

    def _popen(
        self,
        command: list[str],
        name: str,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> Popen[bytes]:
        return self._stack.enter_context(
            server_process(
                command, lambda: True, log or self._folder / f"{name}.log", env=env or self.env
            )
        )


@contextmanager
def ray_hosts(
    folder: Path, num_workers: int = 2, drain_seconds: float = 30.0
) -> Iterator[RayHosts]:
    """The hosts and a store on their network, not started; all ended at the end."""
    with network() as net, s3_server(net.address) as server, ExitStack() as stack:
        hosts = RayHosts(net, server, num_workers, folder, stack, drain_seconds)
        try:
            yield hosts
        finally:
            for host in net.hosts:
                hosts.kill(host)
