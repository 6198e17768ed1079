"""Log lines of the program: one JSON object a line on workers, short readable lines on a terminal. Values of secrets are masked in both.

Only the ``dcgan`` loggers are touched; what Ray, TensorFlow and boto3 log goes where they send it.

    configure("info", rank=0, run="one", as_json=True)
    log = logging.getLogger("dcgan.training")
    log.info("checkpoint committed", extra={"fields": {"step": 1200, "seconds": 3.2}})
    at_step(1200)    # lines without a step of their own get it from now on
    {"time": "2026-11-23T21:55:17.123Z", "level": "info", "run": "one", "rank": 0, "step": 1200, "event": "checkpoint ...", "fields": {...}}
"""

import json
import logging
import math
import numbers
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from job.config.text import is_hidden, printable
from job.telemetry.secrets import mask_secrets

LEVEL_STYLES = {
    "warning": Style(color="yellow"),
    "error": Style(color="red", bold=True),
    "critical": Style(color="red", bold=True),
}
DIM = Style(dim=True)

_step: int | None = None


def at_step(step: int | None) -> None:
    """This process is at ``step`` of its run: each JSON line from now on has it, unless its fields name another. None: at no step."""
    global _step
    _step = step


def plain(value: Any) -> Any:
    """``value`` as JSON can say it, masked: NaN and infinity as text, any other number as int or float, the unknown as its ``str``."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {mask_secrets(str(name)): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return mask_secrets(str(value))


class JsonFormatter(logging.Formatter):
    """One event as one line of JSON, with the same keys in the same order each time; ``step`` is lifted out of the fields, or that of ``at_step``."""

    def __init__(self, rank: int | None, run: str | None) -> None:
        super().__init__()
        self._origin = {"run": run, "rank": rank}

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        time = (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        event: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            **self._origin,
            "step": fields.pop("step", _step),
        }
        event = {name: value for name, value in event.items() if value is not None}
        event |= {"event": record.getMessage(), "fields": fields}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        line = json.dumps(plain(event), ensure_ascii=False).encode(errors="replace").decode()
        # JSON itself escapes the control characters below 32 only.
        return (
            line
            if line.isprintable()
            else "".join(json.dumps(each)[1:-1] if is_hidden(each) else each for each in line)
        )


class TerminalFormatter(logging.Formatter):
    """``21:55:17 checkpoint committed  step 1200  seconds 3.2``, in local time, with the level where it is not info."""

    def __init__(self, rank: int | None, color_system: ColorSystem | None) -> None:
        super().__init__()
        self._rank = rank
        self._color_system = color_system

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        fields = {} if self._rank is None else {"rank": self._rank}
        fields |= getattr(record, "fields", {})
        parts = [self._paint(self.formatTime(record, "%H:%M:%S"), DIM)]
        if level != "info":
            parts.append(self._paint(level, LEVEL_STYLES.get(level, DIM)))
        parts.append(printable(record.getMessage()))
        line = " ".join(parts) + "".join(
            f"  {self._paint(name, DIM)} {printable(_short(value))}"
            for name, value in fields.items()
        )
        if record.exc_info:
            line += "".join(
                f"\n{printable(each)}" for each in self.formatException(record.exc_info).split("\n")
            )
        return mask_secrets(line)

    def _paint(self, text: str, style: Style) -> str:
        return style.render(text, color_system=self._color_system)


class StandardErrorHandler(logging.Handler):
    """Writes to the standard error of the moment, so that lines logged while a progress bar is shown land above it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # the contract of logging: a broken log line must not break the program
            self.handleError(record)


def configure(
    level: str = "info", rank: int | None = None, run: str | None = None, as_json: bool = False
) -> None:
    """Send the ``dcgan`` loggers to standard error from ``level`` up; called again, it replaces what it did before.

    Raises ``ValueError`` for a level that logging does not know.
    """
    handler = StandardErrorHandler()
    handler.setLevel(level.upper())  # also where another handler wants more of the logger
    handler.setFormatter(
        JsonFormatter(rank, run) if as_json else TerminalFormatter(rank, _color_system())
    )
    logger = logging.getLogger("dcgan")
    logger.setLevel(level.upper())
    logger.handlers[:] = [handler]
    # Ray puts handlers of its own on the root logger, which would print every line again.
    logger.propagate = False


def _color_system() -> ColorSystem | None:
    """The colours standard error can show: none where it is no terminal, is a dumb one, or NO_COLOR is set."""
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal or console.no_color:
        return None
    return ColorSystem.STANDARD


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
