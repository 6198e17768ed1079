"""The node from outside: its namespaces, its link to this machine, its cgroups, and their removal.

Knows nothing of Kubernetes. The kernel ends all processes of the node with the first one, and
removes its mounts, bridges and rules.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster.plan import Plan
from tests.servers.process import server_process

_CGROUPS = Path("/sys/fs/cgroup")
_NEEDED = {
    "cpu",
    "cpuset",
    "hugetlb",
    "memory",
    "pids",
}  # controllers that kubelet wants in its group, as far as there are such
_ROOT = Path(__file__).parents[3]
_START_SECONDS = 600.0
_GONE_SECONDS = 30.0
# Killed with this process: `unshare` ignores SIGTERM while its child runs.
_UNSHARE = [
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--uts", "--ipc", "--net", "--pid"),
    *("--fork", "--kill-child", "--mount-proc"),
]
# The shell takes in the orphans of the node, which is what the first process of a machine is for.
_FIRST = '"$@" & wait $!'


@contextmanager
def link() -> Iterator[Plan]:
    """Take a free cluster number, by the name of a link whose other end waits for its node."""
    plan = _free_plan()
    try:
        _ip("address", "add", f"{plan.host_address}/24", "dev", plan.name)
        _ip("link", "set", plan.name, "up")
        yield plan
    finally:
        _remove_link(plan)


def _remove_link(plan: Plan) -> None:
    """Remove it with its routes. Open connections may keep the other end for minutes."""
    with contextlib.suppress(subprocess.CalledProcessError):  # gone
        _ip("link", "del", plan.name)


def remove_traces(plan: Plan) -> None:
    """Return what is left of a cluster whose process could not clean up."""
    _remove_link(plan)
    _remove_groups(plan)


def _free_plan() -> Plan:
    for number in range(os.getpid(), os.getpid() + 250):
        plan = Plan(number % 250 + 1)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "add", plan.name, "type", "veth", "peer", "name", f"{plan.name}n")
            return plan
    raise RuntimeError(
        "250 links named dcgank1 to dcgank250 exist; expected a free one: "
        "`ip link del` those of finished runs"
    )


@contextmanager
def cgroups(plan: Plan) -> Iterator[None]:
    """Create a cgroup in every hierarchy; remove it with all below it at the end."""
    _delegate()
    try:
        for group in _groups(plan):
            group.mkdir()
        yield
    finally:
        _remove_groups(plan)


def _delegate() -> None:
    """Hand down the parent's controllers, as version 2 needs; kubelet names a missing one."""
    root = _CGROUPS / "cgroup.subtree_control"
    if root.exists():
        for controller in _NEEDED & set((_CGROUPS / "cgroup.controllers").read_text().split()):
            with contextlib.suppress(OSError):
                root.write_text(f"+{controller}")


def _remove_groups(plan: Plan) -> None:
    for group in _groups(plan):
        _remove_group(group)


def _groups(plan: Plan) -> list[Path]:
    """Return the hierarchies: one of version 2, or each of version 1, without links."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / plan.name]
    return [hierarchy / plan.name for hierarchy in _CGROUPS.iterdir() if not hierarchy.is_symlink()]


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    for folder, _, _ in list(os.walk(group, topdown=False)):
        while True:  # a process that was just killed may still be counted
            try:
                os.rmdir(folder)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


@contextmanager
def node(plan: Plan, folder: Path) -> Iterator[int]:
    """Yield the first process id of a node whose programs are all up."""
    command = [
        *_UNSHARE,
        "sh",
        "-c",
        _FIRST,
        "sh",
        sys.executable,
        "-m",
        "tests.e2e.cluster.node",
        str(folder),
        str(plan.number),
    ]
    log, ready = folder / "node.log", folder / "ready"
    with server_process(
        command, lambda: True, log, env=os.environ | {"PYTHONPATH": str(_ROOT)}
    ) as process:
        deadline = time.monotonic() + _START_SECONDS
        first = None
        try:
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"the node did not come up; {log} ends with:\n"
                        f"{log.read_text(errors='replace')[-3000:]}"
                    )
                if first is None and (first := _first_process(process.pid)):
                    _connect(plan, first, process)
                time.sleep(0.05)
            assert first is not None, "a node without its end of the link is not ready"
            yield first
        finally:
            if (
                first is not None and process.poll() is None
            ):  # else its number may be another's by now
                os.kill(first, signal.SIGKILL)


def _first_process(parent: int) -> int | None:
    """The child of ``unshare``, as this machine counts, once there is one."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        in_own_network = children and os.readlink(f"/proc/{children[0]}/ns/net") != os.readlink(
            "/proc/self/ns/net"
        )
    except OSError:  # ended
        return None
    return int(children[0]) if in_own_network else None


def _connect(plan: Plan, first: int, process: subprocess.Popen[bytes]) -> None:
    """If that fails because the node has just ended, its log says why."""
    try:
        _ip("link", "set", f"{plan.name}n", "netns", str(first), "name", "eth0")
        for network in (plan.pods, plan.services):
            _ip("route", "add", network, "via", plan.node_address)
    except subprocess.CalledProcessError as error:
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            raise RuntimeError(
                f"the node has no link: {' '.join(error.cmd)}: {error.stderr.strip()}"
            ) from None


def _ip(*command: str) -> str:
    return subprocess.run(
        ["ip", *command], check=True, capture_output=True, text=True, timeout=10
    ).stdout
