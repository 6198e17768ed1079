"""This machine: the cores that this process may use, and which boot of which machine it is."""

import hashlib
import math
import os
import socket
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LIMIT_FILES = (
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
)  # version 2, version 1


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the cores that this process may use, within the limit of ``cgroup``; at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, math.ceil(min(cores, _limit(cgroup))))


def _limit(cgroup: Path) -> float:
    """Return the CPU limit in cores; infinity without one."""
    for names in _LIMIT_FILES:
        try:
            quota, period = (
                int(number) for name in names for number in (cgroup / name).read_text().split()
            )
        except (OSError, ValueError):  # no such file, or cpu.max says max
            continue
        if quota > 0 and period > 0:
            return quota / period
    return math.inf


def boot_number(boot_id: Path = _BOOT_ID) -> int:
    """Return 48 bits that name this boot of this machine: the same in all containers on a node."""
    try:
        name = boot_id.read_text().strip()
    except OSError:  # not Linux
        name = socket.gethostname()
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def ensure_home() -> None:
    """Set ``HOME`` for a user without a home folder, as on OpenShift: ray.train fails without one.

    The folder cannot exist, so that nobody else's files are read from it. Ray 2.60.
    """
    if os.path.expanduser("~") == "~":
        os.environ["HOME"] = os.path.join(os.devnull, "home")


def is_local() -> bool:
    """Return whether the run starts its own Ray cluster on this machine."""
    return os.environ.get("RAY_ADDRESS", "").strip() in ("", "local")  # as Ray reads it
