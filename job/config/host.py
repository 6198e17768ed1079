"""How many cores this process may use: fewer than the machine has in a container, under ``taskset`` or in a batch system."""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_LIMIT_FILES = (
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
)  # version 2, version 1


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the cores that this process may run on, at most those of the CPU limit of ``cgroup``, and at least 1."""
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


def is_local() -> bool:
    """Return whether the run starts a Ray cluster of its own on this machine."""
    return os.environ.get("RAY_ADDRESS", "").strip() in ("", "local")  # as Ray reads it
