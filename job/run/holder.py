"""Who holds a lease: the content of ``lease.json``, and whether that process is known to be gone.

Knows one file and one machine's processes, never a store. What is read here was written by a stranger as far as we know: every field is
checked before it is believed or shown.

    {"format_version": 1, "token": "0f...", "host": "gpu-1", "pid": 4711, ..., "since": "2025-01-01T12:00:00+00:00", "seconds": 30.0, "number": 7}
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
from typing import NamedTuple

from job.config.errors import StorageError
from job.data.json_fields import JsonFields, WrongField, shown

FORMAT_VERSION = 1
MAX_BYTES = 64 * 1024
MAX_SECONDS = 86400.0
_TOKEN = re.compile("[0-9a-f]{32}")
_HOST = re.compile(r"[\w.-]{1,255}", re.ASCII)
_BOOT_ID = re.compile("[0-9a-f-]{36}")
_PID_NAMESPACE = re.compile(r"pid:\[[0-9]{1,20}\]")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00")


class BadLease(StorageError):
    """A ``lease.json`` that is not what one of ours looks like."""


class Process(NamedTuple):
    """A process and where its number counts; None where the system does not tell (macOS)."""

    host: str
    pid: int
    process_started: int | None  # ticks of the kernel's clock after its boot
    boot_id: str | None
    pid_namespace: str | None  # containers of one machine count their processes apart


@dataclass(frozen=True)
class Holder:
    """A job that holds a run folder. ``number`` grows with every write, so that the object's tag changes however alike the rest is."""

    token: str
    host: str
    pid: int
    process_started: int | None
    boot_id: str | None
    pid_namespace: str | None
    since: str
    renewed: str
    seconds: float
    number: int

    def again(self) -> "Holder":
        """The same holder, renewed now."""
        return dataclasses.replace(self, renewed=_now(), number=self.number + 1)

    def to_json(self) -> bytes:
        """The file's content."""
        return (
            json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"
        ).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} (last renewed {self.renewed})"


def new_holder(seconds: float) -> Holder:
    """This process, with a token of its own."""
    now = _now()
    return Holder(
        uuid.uuid4().hex, *_this_process(), since=now, renewed=now, seconds=seconds, number=1
    )


def is_gone(holder: Holder) -> bool:
    """Whether the holder certainly runs no more. False where that cannot be seen from here: another machine or container, no ``/proc``."""
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
    return (
        state in "ZX" or started != holder.process_started
    )  # killed and not yet reaped; a later process of the same number


def parse_holder(data: bytes, uri: str) -> Holder:
    """The checked content of a ``lease.json``; ``BadLease`` names ``uri`` and what is wrong."""
    try:
        return _parse(JsonFields.parse(data, MAX_BYTES))
    except WrongField as error:
        raise BadLease(
            f"{uri}: {error}. This is not the lease of a job that trains into this run folder: make sure that none does, then delete that object"
        ) from None


def _parse(fields: JsonFields) -> Holder:
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        raise WrongField(
            f"format_version is {version}; this program reads version {FORMAT_VERSION}"
        )
    seconds = fields.values.get("seconds")
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= MAX_SECONDS
    ):
        raise WrongField(
            f"seconds is {shown(seconds)}; expected a number above 0, at most {MAX_SECONDS:.0f}"
        )
    return Holder(
        token=fields.matching("token", _TOKEN, "32 hexadecimal digits"),
        host=fields.matching("host", _HOST, "a host name"),
        pid=fields.integer("pid", 1, 2**31 - 1),
        process_started=fields.optional_integer("process_started", 0),
        boot_id=fields.matching("boot_id", _BOOT_ID, "a UUID or null")
        if fields.has("boot_id")
        else None,
        pid_namespace=fields.matching("pid_namespace", _PID_NAMESPACE, "pid:[NUMBER] or null")
        if fields.has("pid_namespace")
        else None,
        since=fields.matching("since", _TIME, "a time such as 2025-01-01T12:00:00+00:00"),
        renewed=fields.matching("renewed", _TIME, "a time such as 2025-01-01T12:00:00+00:00"),
        seconds=float(seconds),
        number=fields.integer("number", 1),
    )


def _this_process() -> Process:
    host, pid = (
        re.sub(r"[^\w.-]", "-", platform.node(), flags=re.ASCII)[:255] or "unknown",
        os.getpid(),
    )
    try:
        if os.readlink("/proc/self") == str(pid):  # else it is the /proc of another container
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return Process(host, pid, _state(pid)[1], boot_id, os.readlink("/proc/self/ns/pid"))
    except OSError:
        pass
    return Process(host, pid, None, None, None)


def _state(pid: int) -> tuple[str, int]:
    """State letter and start time of a process, fields 3 and 22 of proc(5); the name before them may hold anything. Raises ``OSError``."""
    fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
