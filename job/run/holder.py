"""The holder of a lease: the content of ``lease.json``, and if that process has ended.

Knows one file and one machine's processes, never a store. A lease may come from anyone: every
field is validated before it is believed or shown.

    {"format_version": 1, "token": "0f...", "host": "gpu-1", "pid": 4711, ...,
     "since": "2025-01-01T12:00:00+00:00", "seconds": 30.0, "number": 7}
"""

import dataclasses
import json
import os
import platform
import re
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

from annotated_types import Gt, Le
from pydantic import Strict

from job.config.errors import StorageError
from job.config.validation import Expected
from job.data.json_fields import Matching, Whole, WrongField, parse_object, validate_fields

FORMAT_VERSION = 1
MAX_BYTES = 64 * 1024
MAX_SECONDS = 86400.0
_TIME = Matching(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+]00:00",
    "a time such as 2025-01-01T12:00:00+00:00",
)
_SECONDS = Expected(f"a number above 0, at most {MAX_SECONDS:.0f}")


class BadLease(StorageError):
    """A ``lease.json`` that is not valid."""


class Process(NamedTuple):
    """A process and its namespace; None if the system does not report it (macOS)."""

    host: str
    pid: int
    process_started: int | None  # ticks of the kernel's clock after its boot
    boot_id: str | None
    pid_namespace: str | None  # containers of one machine count their processes apart


@dataclass(frozen=True)
class Holder:
    """A job that holds a run folder. ``number`` grows with every write: the tag changes."""

    token: Annotated[str, Matching("[0-9a-f]{32}", "32 hexadecimal digits")]
    host: Annotated[str, Matching("[A-Za-z0-9_.-]{1,255}", "a host name")]
    pid: Annotated[int, Whole(1, 2**31 - 1)]
    process_started: Annotated[int, Whole(0)] | None
    boot_id: Annotated[str, Matching("[0-9a-f-]{36}", "a UUID or null")] | None
    pid_namespace: Annotated[str, Matching(r"pid:\[[0-9]{1,20}\]", "pid:[NUMBER] or null")] | None
    since: Annotated[str, _TIME]
    renewed: Annotated[str, _TIME]
    seconds: Annotated[float, Strict(), Gt(0), Le(MAX_SECONDS), _SECONDS]
    number: Annotated[int, Whole(1)]

    def again(self) -> "Holder":
        """Return the same holder, renewed now."""
        return dataclasses.replace(self, renewed=_now(), number=self.number + 1)

    def to_json(self) -> bytes:
        """Return the file's content."""
        return (
            json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"
        ).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} (last renewed {self.renewed})"


def new_holder(seconds: float) -> Holder:
    """Return this process as a holder, with a new token."""
    now = _now()
    return Holder(
        uuid.uuid4().hex, *_this_process(), since=now, renewed=now, seconds=seconds, number=1
    )


def is_gone(holder: Holder) -> bool:
    """Return whether the holder has certainly ended.

    False if this process cannot see it: another machine or container, or no ``/proc``.
    """
    here = _this_process()
    if here.boot_id is None or (holder.host, holder.boot_id, holder.pid_namespace) != (
        here.host,
        here.boot_id,
        here.pid_namespace,
    ):
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        pass
    try:
        state, started = _state(holder.pid)
    except OSError:  # hidden from this user, or ended just now
        return False
    # Killed and not yet reaped, or a later process with the same number.
    return state in "ZX" or started != holder.process_started


def parse_holder(data: bytes, uri: str) -> Holder:
    """Return the validated content of a ``lease.json``. Raise ``BadLease`` naming the field."""
    optional = dict.fromkeys(("process_started", "boot_id", "pid_namespace"))
    try:
        return validate_fields(Holder, optional | parse_object(data, MAX_BYTES, FORMAT_VERSION))
    except WrongField as error:
        raise BadLease(
            f"{uri}: {error}. This is not the lease of a job that trains into this run folder:"
            " make sure that none does, then delete that object"
        ) from None


def _this_process() -> Process:
    host = re.sub(r"[^\w.-]", "-", platform.node(), flags=re.ASCII)[:255] or "unknown"
    pid = os.getpid()
    try:
        if os.readlink("/proc/self") == str(pid):  # else it is the /proc of another container
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return Process(host, pid, _state(pid)[1], boot_id, os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass
    return Process(host, pid, None, None, None)


def _state(pid: int) -> tuple[str, int]:
    """Return the state letter and start time of a process, fields 3 and 22 of proc(5).

    The name before them may hold anything. Raise ``OSError`` if there is no such process.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
