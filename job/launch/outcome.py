"""Finish a run folder when its program ends: join ``metrics.jsonl``, write report and outcome.

Raises nothing: the user must see the error that ended the run, not one from here.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from job.config.errors import DcganError, StorageError
from job.report.html_report import write_report
from job.run import metric_rows
from job.run.attempts import Attempt, Outcome
from job.run.lease import LeaseLost
from job.storage.store import ObjectStore

log = logging.getLogger("dcgan.records")


@contextmanager
def record_outcome(store: ObjectStore, start: Attempt) -> Iterator[None]:
    """Write down how the block ends, and join its metrics.

    After an end that nobody asked for, and after the last step, also the report.

    A stopped run is to end soon and will be resumed: it gets no report.
    """
    try:
        yield
    except KeyboardInterrupt:
        _quietly(lambda: start.end("stopped", "by Ctrl-C or a signal", None), "how the run ended")
        _quietly(lambda: metric_rows.merge(store), "metrics.jsonl")
        raise
    except LeaseLost as lost:  # another job's folder by now
        why, exit_code = str(lost), lost.exit_code
        _quietly(lambda: start.end("failed", why, exit_code), "how the run ended")
        raise
    except BaseException as error:
        why = str(error) if isinstance(error, DcganError) else f"{type(error).__name__}: {error}"
        _leave(store, start, "failed", why, error.exit_code if isinstance(error, DcganError) else 1)
        raise
    else:
        _leave(store, start, "done", "", 0)


def _leave(store: ObjectStore, start: Attempt, outcome: Outcome, why: str, exit_code: int) -> None:
    _quietly(lambda: start.end(outcome, why, exit_code), "how the run ended")
    _quietly(lambda: metric_rows.merge(store), "metrics.jsonl")
    _quietly(lambda: write_report(store), "report.html")


def _quietly(operation: Callable[[], object], what: str) -> None:
    try:
        operation()
    except StorageError as error:
        log.warning("%s is not written: %s", what, error)
    except Exception:  # the edge of the program: see above
        log.exception("%s is not written", what)
