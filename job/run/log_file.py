"""Log lines on the store: every process keeps its own in ``logs/``, in segments, when its terminal and its pod are long gone.

What our loggers say from info up, and warnings of Ray, TensorFlow and Python. Secrets are masked as in every log line (``job.telemetry.logs``).
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
# Beside the root logger: those that may keep their records from it. Ray Train's and Data's keep them from ``ray`` too.
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
        """Always JSON: ``ray.init`` puts a formatter of its own into the handlers that it finds (2.60, seen)."""
        return self._json.format(record)

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, _KEPT, False):  # it comes to a logger and to the root
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
        except Exception:  # the contract of logging: a broken log line must not break the program
            self.handleError(record)

    def say(
        self, level: int, text: str, fields: dict[str, object], error: BaseException | None = None
    ) -> None:
        """A line for the store alone: a terminal shows starts and ends in other ways."""
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
    """Keep the log of this process in ``writer``'s store, and what ends the block if that is an exception: an error's words or a traceback."""
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
