"""Read and merge the metric rows of a run folder: ``metrics.jsonl``, then the segments not in it.

Lines that are not rows are skipped, and a file of any size is read in bounded memory.
"""

from collections.abc import Iterator
from typing import NamedTuple

from job.data.json_fields import object_or_empty
from job.run.layout import METRICS, METRICS_SEGMENTS
from job.run.stored_json import as_number, as_step, as_text
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectInfo, ObjectMissing, ObjectStore

PIECE_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16
MAX_ATTEMPT_LENGTH = 64


class Row(NamedTuple):
    """One row; ``values`` are its finite series, ``attempt`` is the stored key ``start``."""

    attempt: str
    number: int
    time: str
    phase: str
    step: int
    values: dict[str, float]


def merge(store: ObjectStore) -> None:
    """Merge all rows into one ``metrics.jsonl``, then delete the merged segments.

    A row that an interrupted merge left in both places is written once. A segment that its worker
    rewrote during the merge stays for the next one.
    """
    files = metric_files(store)
    if all(entry.key == METRICS for entry in files):
        return
    last_numbers: dict[str, int] = {}
    with scratch_folder() as folder:
        merged = folder / "metrics.jsonl"
        with merged.open("wb") as file:
            for line in (line for entry in files for line in read_lines(store, entry)):
                row = parse_row(line, with_values=False)
                if row and row.number > last_numbers.get(row.attempt, 0):
                    last_numbers[row.attempt] = row.number
                    file.write(line + b"\n")
        store.upload(merged, METRICS)
    for entry in files:
        if entry.key != METRICS and store.stat(entry.key) == entry:
            store.delete(entry.key)


def metric_files(store: ObjectStore) -> list[ObjectInfo]:
    """Return the merged file, if there is one, and the segments in the order of attempts."""
    merged = store.stat(METRICS)
    segments = [entry for entry in store.list(METRICS_SEGMENTS) if entry.key.endswith(".jsonl")]
    return [merged, *segments] if merged else segments


def read_lines(store: ObjectStore, entry: ObjectInfo) -> Iterator[bytes]:
    """Yield the lines of a file, without those over ``MAX_LINE_BYTES``."""
    rest = b""
    for start in range(0, entry.num_bytes, PIECE_BYTES):
        try:
            *lines, rest = (rest + store.read_range(entry.key, start, PIECE_BYTES)).split(b"\n")
        except ObjectMissing:  # merged and deleted since it was listed
            return
        yield from (line for line in lines if 0 < len(line) <= MAX_LINE_BYTES)
        rest = rest if len(rest) <= MAX_LINE_BYTES else b"\0" * (MAX_LINE_BYTES + 1)
    if 0 < len(rest) <= MAX_LINE_BYTES:
        yield rest


def parse_row(line: bytes, with_values: bool = True) -> Row | None:
    """Return the row of a line; None if the line is not a row."""
    stored = object_or_empty(line)
    attempt = stored.get("start")
    number, step = as_step(stored.get("row")), as_step(stored.get("step"))
    if not isinstance(attempt, str) or not 0 < len(attempt) <= MAX_ATTEMPT_LENGTH:
        return None
    if number is None or step is None:
        return None
    values = {
        name: known
        for name, value in (stored.items() if with_values else ())
        if name not in ("row", "step") and (known := as_number(value)) is not None
    }
    time, phase = (as_text(stored.get(name), 64) for name in ("time", "phase"))
    return Row(attempt, number, time, phase, step, values)
