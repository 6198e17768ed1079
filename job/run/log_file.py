"""Store the log of a process in ``logs/`` of the run folder, so that it outlives its pod.

It has the ``dcgan`` loggers' lines from info up, and warnings of Ray, TensorFlow and Python.
Secrets are masked as in every log line (``job.telemetry.logs``).
"""

import copy
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from job.config.errors import DcganError
from job.run.layout import log_key
from job.run.segments import Segments, Writer
from job.telemetry.logs import JsonFormatter

OURS = "dcgan"
# Loggers that may not propagate to the root logger; Ray Train's and Data's not even to ``ray``.
OTHERS = ("ray", "ray.train", "ray.data", "tensorflow", "absl", "py.warnings")
_KEPT = "_dcgan_is_kept"

log = logging.getLogger("dcgan.process")


class StoreHandler(logging.Handler):
    """Appends each record as a line of JSON; a warning does not wait for the writer's next turn."""

    def __init__(self, segments: Segments, run: str, rank: int | None):
        super().__init__(logging.INFO)
        self._segments = segments
        self._json = JsonFormatter(rank, run)

    def format(self, record: logging.LogRecord) -> str:
        """Return JSON: ``ray.init`` (2.60) replaces the formatter of existing handlers."""
        return self._json.format(record)

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, _KEPT, False):  # it reaches a logger and the root
            return
        setattr(record, _KEPT, True)
        try:
            is_ours = record.name.partition(".")[0] == OURS
            if not is_ours and record.levelno < logging.WARNING:
                return
            if not is_ours:
                record = copy.copy(record)
                record.fields = {"logger": record.name}
            self._segments.append(
                self.format(record).encode(errors="replace") + b"\n",
                soon=record.levelno >= logging.WARNING,
            )
        except Exception:  # a broken log line must not break the program
            self.handleError(record)

    def say(
        self, level: int, text: str, fields: dict[str, object], error: BaseException | None = None
    ) -> None:
        """Write a line to the store only: a terminal shows start and end in other ways."""
        trace = (type(error), error, error.__traceback__) if error else None
        self.handle(
            log.makeRecord(
                log.name, level, __file__, 0, "%s", (text,), trace, extra={"fields": fields}
            )
        )


@contextmanager
def log_to_store(
    writer: Writer, start: str, who: str, run: str, rank: int | None = None
) -> Iterator[None]:
    """Store the log of this process, with the error message or traceback that ends the block."""
    handler = StoreHandler(writer.open(partial(log_key, start, who)), run, rank)
    loggers = [logging.getLogger(name) for name in (None, OURS, *OTHERS)]
    level = logging.getLogger(OURS).level
    if not level or level > logging.INFO:
        logging.getLogger(OURS).setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(handler)
    logging.captureWarnings(True)
    handler.say(logging.INFO, "process started", {"pid": os.getpid(), "host": socket.gethostname()})
    try:
        yield
        handler.say(logging.INFO, "process ended", {})
    except DcganError as error:
        handler.say(logging.ERROR, str(error), {"exit_code": error.exit_code})
        raise
    except KeyboardInterrupt:
        handler.say(logging.INFO, "stopped by a signal", {})
        raise
    except BaseException as error:
        handler.say(logging.CRITICAL, f"ended by {type(error).__name__}", {}, error)
        raise
    finally:
        logging.captureWarnings(False)
        for logger in loggers:
            logger.removeHandler(handler)
        logging.getLogger(OURS).setLevel(level)
