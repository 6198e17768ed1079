"""The records of one process of a run: the writer of its log and, on the chief, its metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from job.config.spec import RunSpec
from job.run.layout import run_name
from job.run.log_file import log_to_store
from job.run.segments import Writer
from job.storage.store import ObjectStore


class Records(NamedTuple):
    """``start`` is the name of the workers' or the program's attempt (``layout.start_name``)."""

    writer: Writer
    start: str


@contextmanager
def process_records(
    spec: RunSpec, store: ObjectStore, start: str, who: str, rank: int | None = None
) -> Iterator[Records]:
    """Store this process's log as ``logs/START-WHO-...``; flush everything at the end."""
    with (
        Writer(store, spec.history.every_seconds) as writer,
        log_to_store(writer, start, who, run_name(spec.uri), rank),
    ):
        yield Records(writer, start)
