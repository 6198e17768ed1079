"""Hosts as network namespaces of this machine: each has an address, a name, /tmp and a link.

Knows iproute2 and mounts, never Ray. This process is on the bridge too, and can signal all their
processes: the ids are of one machine.

with network() as net:
    host = net.new_host("worker-1", folder / "worker-1")
    subprocess.Popen([*host.enter, "python", "-m", "http.server", "80"])     answers at host.address
    host.cut()
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.tools import skip_or_fail

_FIRST_HOST = 2  # the bridge is 1
_GONE_SECONDS = 20.0
# A host's view of this machine's files: its own /tmp and /etc/hosts; nobody else sees its mounts.
_ENTER = (
    'hostname "$0" && mount --bind "$1" /etc/hosts && mount --bind "$2" /tmp'
    ' && shift 2 && exec "$@"'
)


@dataclass
class Host:
    """One namespace, and the port of the same name on the bridge. ``folder`` is its /tmp."""

    name: str
    address: str
    namespace: str
    folder: Path

    @property
    def enter(self) -> list[str]:
        """Return the prefix of a command that runs there, under the same process id."""
        hosts = self.folder.with_suffix(".hosts")
        inside = ["unshare", "--uts", "sh", "-c", _ENTER, self.name, str(hosts), str(self.folder)]
        return ["ip", "netns", "exec", self.namespace, *inside]

    def pids(self) -> list[int]:
        """Every process on it."""
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]

    def kill(self) -> None:
        """Send SIGKILL until no process is left, as a power loss does. Files stay."""
        deadline = time.monotonic() + _GONE_SECONDS
        while pids := self.pids():
            assert time.monotonic() < deadline, f"{self.name} still has the processes {pids}"
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def cut(self) -> None:
        """Its switch's port goes dead: packets are lost both ways, and no connection is closed."""
        _ip("link", "set", self.namespace, "down")

    def restore(self) -> None:
        """The link is there again."""
        _ip("link", "set", self.namespace, "up")


@dataclass
class Network:
    """A bridge and its hosts, in 10.77.``number``.0/24."""

    number: int
    hosts: list[Host] = field(default_factory=list)

    @property
    def address(self) -> str:
        """This process as the hosts see it."""
        return f"10.77.{self.number}.1"

    @property
    def bridge(self) -> str:
        return f"dcgan{self.number}"

    def new_host(self, name: str, folder: Path) -> Host:
        """A host that is reachable, with no process yet."""
        number = _FIRST_HOST + len(self.hosts)
        host = Host(name, f"10.77.{self.number}.{number}", f"{self.bridge}h{number}", folder)
        folder.mkdir(parents=True, exist_ok=True)
        folder.with_suffix(".hosts").write_text(f"127.0.0.1 localhost\n{host.address} {name}\n")
        self.hosts.append(host)
        _ip("netns", "add", host.namespace)
        _ip(
            "link",
            "add",
            host.namespace,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            host.namespace,
        )
        _ip("link", "set", host.namespace, "master", self.bridge, "up")
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", host.namespace, "link", "set", device, "up")
        return host


@contextmanager
def network() -> Iterator[Network]:
    """An empty network; at the end all processes of its hosts are ended and it is removed."""
    _require_namespaces()
    net = Network(_free_number())
    try:
        _ip("addr", "add", f"{net.address}/24", "dev", net.bridge)
        _ip("link", "set", net.bridge, "up")
        yield net
    finally:
        for host in net.hosts:
            with contextlib.suppress(subprocess.CalledProcessError):  # half made
                host.kill()
            for command in (("link", "del", host.namespace), ("netns", "del", host.namespace)):
                with contextlib.suppress(subprocess.CalledProcessError):
                    _ip(*command)
        _ip("link", "del", net.bridge)


def _free_number() -> int:
    """Take a free bridge number, from the process id on: two runs seldom try the same."""
    for number in range(os.getpid(), os.getpid() + 250):
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "add", f"dcgan{number % 250 + 1}", "type", "bridge")
            return number % 250 + 1
    raise RuntimeError(
        "250 bridges named dcgan1 to dcgan250 exist; expected a free one: "
        "`ip link del` those of finished runs"
    )


def _require_namespaces() -> None:
    """Skip where this process may not make namespaces, or fail where DCGAN_REQUIRE_TOOLS=1 (CI)."""
    missing = [
        program for program in ("ip", "unshare", "mount", "hostname") if not shutil.which(program)
    ]
    reason = f"{', '.join(missing)} not found" if missing else ""
    if not missing:
        name = f"dcgan-probe-{os.getpid()}"
        probe = subprocess.run(
            ["ip", "netns", "add", name], capture_output=True, text=True, check=False
        )
        reason = probe.stderr.strip()
        if probe.returncode == 0:
            _ip("netns", "del", name)
    if reason:
        text = f"no network namespaces here ({reason}); expected root, and iproute2 with `ip netns`"
        skip_or_fail(text)


def _ip(*command: str) -> str:
    return subprocess.run(
        ["ip", *command], check=True, capture_output=True, text=True, timeout=10
    ).stdout
