"""The records of one process of a run: the writer that its log, and the first worker's history, are appended to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from job.config.spec import RunSpec
from job.config.waits import LOOP_ATTEMPTS
from job.run.layout import run_name
from job.run.log_file import log_to_store
from job.run.segments import Writer
from job.storage.store import ObjectStore
from job.storage.uri import open_store


class Records(NamedTuple):
    """``start`` names the start of the workers, or of the program, that this process belongs to (``run_folder``)."""

    writer: Writer
    start: str


@contextmanager
def process_records(
    spec: RunSpec, start: str, who: str, rank: int | None = None
) -> Iterator[Records]:
    """Keep this process's log as ``logs/START-WHO-...`` from now on, and give the writer for more; what is left is flushed at the end."""
    with (
        Writer(open_records(spec), spec.history.every_seconds) as writer,
        log_to_store(writer, start, who, run_name(spec.uri), rank),
    ):
        yield Records(writer, start)


def open_records(spec: RunSpec) -> ObjectStore:
    """The run folder, with little patience: the writer's thread tries again by itself, and at the end of a run nobody waits long."""
    return open_store(spec.uri, spec.storage, max_attempts=LOOP_ATTEMPTS)
