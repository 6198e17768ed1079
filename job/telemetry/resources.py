"""Free memory and disk of this machine, within the limits of this process's container."""

import os
import shutil
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
# Limit, usage, and the statistics with the page cache that the kernel frees when it needs memory.
_MEMORY_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)  # version 2, version 1
_SHM = Path("/dev/shm")


def available_memory(cgroup: Path = _CGROUP) -> int:
    """Return the bytes of memory that new processes may use here."""
    available = int(psutil.virtual_memory().available)
    for limit, usage, statistics, cache in _MEMORY_FILES:
        try:
            free = int((cgroup / limit).read_text()) - int((cgroup / usage).read_text())
            lines = (cgroup / statistics).read_text().splitlines()
            freeable = dict(line.split() for line in lines)[cache]
        except (OSError, ValueError, KeyError):  # no such file, or memory.max says max
            continue
        return max(0, min(available, free + int(freeable)))
    return available


def shared_memory(folder: Path = _SHM) -> int | None:
    """Return the size of ``/dev/shm`` in bytes; None on a system without it (macOS)."""
    return shutil.disk_usage(folder).total if folder.is_dir() else None


def free_disk(folder: Path) -> int:
    """Return the free bytes of the disk of ``folder``, which need not exist yet."""
    while not os.path.exists(folder) and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
