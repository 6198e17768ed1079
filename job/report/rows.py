"""Reading the rows of a run: those of ``metrics.jsonl``, then those of the segments that are not in it yet, in the order of starts.

A row read twice counts once. Rows of steps that were trained again later (a start from an earlier checkpoint, or a roll-back) are superseded. What
is read was written by a stranger as far as we know: a line that is no row is passed over, and a file of any size is read in bounded memory.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from job.run.layout import METRICS, METRICS_SEGMENTS
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectInfo, ObjectMissing, ObjectStore

PIECE_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16
MAX_PARSED_BYTES = 64 << 20  # of larger histories evenly chosen rows are read
MAX_START = 64
MAX_STEP = 10**12


class Row(NamedTuple):
    """One row; ``values`` are those of its series that are finite numbers."""

    start: str
    number: int
    time: str
    phase: str
    step: int
    values: dict[str, float]


@dataclass
class Course:
    """``rows`` lead from the first to the last step, none superseded; ``first_rows`` and ``last_rows`` are each
    start's, in order, also where they are superseded."""

    rows: list[Row] = field(default_factory=list)
    last_rows: dict[str, Row] = field(default_factory=dict)
    first_rows: dict[str, Row] = field(default_factory=dict)
    num_bad: int = 0

    def add(self, row: Row) -> None:
        """Rows are added in the order in which they were written."""
        last = self.last_rows.get(row.start)
        if last and row.number <= last.number:
            return
        while self.rows and self.rows[-1].step > row.step:
            self.rows.pop()
        self.rows.append(row)
        self.last_rows[row.start] = row
        self.first_rows.setdefault(row.start, row)


def read_course(store: ObjectStore, names: Sequence[str] | None = None) -> Course:
    """Every row that counts, with all its series or those of ``names``."""
    course = Course()
    files = list(_files(store))
    every = max(1, -(-sum(entry.num_bytes for entry in files) // MAX_PARSED_BYTES))
    for number, line in enumerate(line for entry in files for line in _lines(store, entry)):
        if every > 1 and number % every:
            continue
        row = parse_row(line, names)
        if row is None:
            course.num_bad += 1
        else:
            course.add(row)
    return course


def merge(store: ObjectStore) -> None:
    """Make one ``metrics.jsonl`` of all rows, then remove the segments. What was merged before and not removed is not doubled.

    A segment that a worker wrote again meanwhile, at its own end, stays for the next time.
    """
    files = list(_files(store))
    if all(entry.key == METRICS for entry in files):
        return
    seen: dict[str, int] = {}
    with scratch_folder() as folder:
        merged = folder / "metrics.jsonl"
        with merged.open("wb") as file:
            for line in (line for entry in files for line in _lines(store, entry)):
                row = parse_row(line, ())
                if row and row.number > seen.get(row.start, 0):
                    seen[row.start] = row.number
                    file.write(line + b"\n")
        store.upload(merged, METRICS)
    for entry in files:
        if entry.key != METRICS and store.stat(entry.key) == entry:
            store.delete(entry.key)


def parse_row(line: bytes, names: Sequence[str] | None = None) -> Row | None:
    """None where the line is no row of ours."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    start, number, step = told.get("start"), _count(told.get("row")), _count(told.get("step"))
    if (
        not isinstance(start, str)
        or not 0 < len(start) <= MAX_START
        or number is None
        or step is None
    ):
        return None
    shown = told if names is None else {name: told[name] for name in names if name in told}
    values = {
        name: float(value)
        for name, value in shown.items()
        if name not in ("row", "step") and _is_number(value)
    }
    return Row(start, number, _short(told.get("time")), _short(told.get("phase")), step, values)


def _files(store: ObjectStore) -> Iterator[ObjectInfo]:
    if merged := store.stat(METRICS):
        yield merged
    yield from (entry for entry in store.list(METRICS_SEGMENTS) if entry.key.endswith(".jsonl"))


def _lines(store: ObjectStore, entry: ObjectInfo) -> Iterator[bytes]:
    """Piece by piece; a line that is longer than any of ours is left out."""
    rest = b""
    for start in range(0, entry.num_bytes, PIECE_BYTES):
        try:
            *lines, rest = (rest + store.read_range(entry.key, start, PIECE_BYTES)).split(b"\n")
        except ObjectMissing:  # merged and removed since it was listed
            return
        yield from (line for line in lines if 0 < len(line) <= MAX_LINE_BYTES)
        rest = rest if len(rest) <= MAX_LINE_BYTES else b"\0" * (MAX_LINE_BYTES + 1)
    if 0 < len(rest) <= MAX_LINE_BYTES:
        yield rest


def _count(value: Any) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STEP
        else None
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _short(value: Any) -> str:
    return value[:64] if isinstance(value, str) else ""
