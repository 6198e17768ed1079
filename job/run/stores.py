"""The stores of a run: opened once in each of its processes, and handed on. Sends no request."""

from dataclasses import dataclass

from job.config.spec import RunSpec
from job.config.waits import LOOP_ATTEMPTS
from job.storage.store import ObjectStore
from job.storage.uri import open_store


@dataclass(frozen=True)
class RunStores:
    """The run folder, the same with few attempts per request, and the data set.

    ``loop`` is for what retries by itself and must not wait long for a failing store: the training
    loop and the writer of records.
    """

    folder: ObjectStore
    loop: ObjectStore
    data: ObjectStore


def open_stores(spec: RunSpec) -> RunStores:
    """Return the stores of ``spec``; raise ``ConfigError`` for a malformed URI."""
    return RunStores(
        open_store(spec.uri, spec.storage),
        open_store(spec.uri, spec.storage, max_attempts=LOOP_ATTEMPTS),
        open_store(spec.data.uri, spec.storage),
    )
