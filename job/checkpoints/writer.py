"""The writer of checkpoints: the latest start of the workers, in ``checkpoints/writer.json``.

The lease keeps other jobs out. This keeps out an earlier start of the same job: a chief whose host
was cut off and comes back after its group has been restarted elsewhere. Starts are ordered, and a
later one is never replaced.

    {"start": "20260102T030405Z-001", "number": 1}
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from job.config.errors import StorageError
from job.data.json_fields import Matching, Whole, WrongField, parse_object, validate_fields
from job.storage.store import ObjectMissing, ObjectStore

KEY = "checkpoints/writer.json"
_MAX_BYTES = 4096
_ATTEMPTS = 10
_START = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([0-9]{3,9})")


class Superseded(RuntimeError):
    """A later start of the workers writes the checkpoints; the run continues there."""


class Claim(NamedTuple):
    """Ordered by time: stamp of the attempt, restart of its workers, claim of that start."""

    stamp: str
    restarts: int
    number: int

    @property
    def start(self) -> str:
        """The name of the start of the workers."""
        return f"{self.stamp}-{self.restarts:03d}"

    def to_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps({"start": self.start, "number": self.number}).encode()


@dataclass(frozen=True)
class _Document:
    """The file's content."""

    start: Annotated[str, Matching(_START.pattern, "the name of an attempt")]
    number: Annotated[int, Whole(1)]


def claim(
    store: ObjectStore,
    start: str,
    check_owner: Callable[[], None] = lambda: None,
    *,
    conditional: bool = True,
) -> Callable[[], None]:
    """Become the writer; return a check that raises ``Superseded`` after a later start's claim.

    Raise ``Superseded`` at once if that has happened. ``start`` is a name of ``job.run.layout``:
    the later start has the later name, regardless of clocks. ``check_owner`` raises if another job
    has the run folder. A claim can be repeated. Without ``conditional`` (for a store without
    conditional writes) two simultaneous claims may both succeed.
    """
    match = _START.fullmatch(start)
    if not match:
        raise ValueError(f"start is {start!r}; expected a name such as 20260102T030405Z-000")
    own = _take(store, Claim(match[1], int(match[2]), 1), check_owner, conditional)

    def check() -> None:
        try:
            latest = _read(store)
        except ObjectMissing:  # deleted by hand: there is no other writer
            return
        if latest != own:
            raise _superseded(store, own)

    return check


def _take(
    store: ObjectStore, wanted: Claim, check_owner: Callable[[], None], conditional: bool
) -> Claim:
    for _ in range(_ATTEMPTS):
        check_owner()
        seen = store.stat(KEY)  # before it is read: the write below replaces only what was read
        try:
            found = _read(store) if seen else None
        except ObjectMissing:
            continue
        if found and found[:2] > wanted[:2]:
            raise _superseded(store, wanted)
        if found and found[:2] == wanted[:2]:  # its own, after a rollback or a lost answer
            wanted = wanted._replace(number=found.number + 1)
        if not conditional:
            store.write(KEY, wanted.to_json())
            return wanted
        if store.write_if(KEY, wanted.to_json(), seen.etag if seen else None) is not None:
            return wanted
    raise StorageError(
        f"{_uri(store)}: {_ATTEMPTS} conditional writes failed in a row; expected one to succeed"
    )


def _superseded(store: ObjectStore, claim: Claim) -> Superseded:
    return Superseded(
        f"{_uri(store)}: a later start of the workers writes the checkpoints;"
        f" expected {claim.start} to be the latest. If no other job trains here, delete that object"
    )


def _uri(store: ObjectStore) -> str:
    return f"{store.uri.rstrip('/')}/{KEY}"


def _read(store: ObjectStore) -> Claim | None:
    """Return the stored claim; None for a random name of an earlier version.

    Raise ``ObjectMissing`` if there is none.
    """
    data = store.read_range(KEY, 0, _MAX_BYTES + 1)
    try:
        found = validate_fields(_Document, parse_object(data, _MAX_BYTES))
    except WrongField:
        return None
    stamp, _, restarts = found.start.rpartition("-")
    return Claim(stamp, int(restarts), found.number)
