"""Who listens on a TCP port of this machine, as far as Linux's ``/proc`` lets this process see.

Layout of ``/proc/net/tcp``: proc(5). A socket's inode there is the target of a link in its owner's ``/proc/PID/fd``.
"""

from collections.abc import Iterator
from pathlib import Path

LISTEN = "0A"


def port_holder(port: int) -> str | None:
    """``name (pid 123)`` of the process that listens on ``port``; None where there is none, it is another user's, or this is no Linux."""
    links = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not links:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in links for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # it has ended meanwhile, or is not ours to look into
            continue
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            local_address, state, inode = columns[1], columns[3], columns[9]
            if state == LISTEN and int(local_address.rpartition(":")[2], 16) == port:
                yield inode
