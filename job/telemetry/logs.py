"""Log lines: JSON on workers, short lines on a terminal; secrets are masked in both.

Only the ``dcgan`` loggers are configured, not those of Ray, TensorFlow and boto3.

    configure("info", rank=0, run="one", as_json=True)
    log = logging.getLogger("dcgan.training")
    log.info("checkpoint committed", extra={"fields": {"step": 1200, "seconds": 3.2}})
    at_step(1200)    # the step of later lines that have none

    {"time": "2026-11-23T21:55:17.123Z", "level": "info", "run": "one", "rank": 0, "step": 1200,
     "event": "checkpoint committed", "fields": {"seconds": 3.2}}
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
    """Set the step of later JSON lines whose fields have none; None for no step."""
    global _step
    _step = step


def time_text(seconds: float, timespec: str = "seconds") -> str:
    """Return ``seconds`` since 1970 as ``2026-01-02T03:04:05Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def plain(value: Any) -> Any:
    """Return ``value`` for JSON, masked: NaN and infinity as text, unknown types as ``str``."""
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
    """One event per line of JSON, keys in a fixed order; ``step`` is lifted out of the fields."""

    def __init__(self, rank: int | None, run: str | None) -> None:
        super().__init__()
        self._origin = {"run": run, "rank": rank}

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        event: dict[str, Any] = {
            "time": time_text(record.created, "milliseconds"),
            "level": record.levelname.lower(),
            **self._origin,
            "step": fields.pop("step", _step),
        }
        event = {name: value for name, value in event.items() if value is not None}
        event |= {"event": record.getMessage(), "fields": fields}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        line = json.dumps(plain(event), ensure_ascii=False).encode(errors="replace").decode()
        if line.isprintable():
            return line
        # JSON escapes only the control characters below 32.
        return "".join(json.dumps(each)[1:-1] if is_hidden(each) else each for each in line)


class TerminalFormatter(logging.Formatter):
    """``21:55:17 checkpoint committed  step 1200``: local time, and the level if it is not info."""

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
    """Writes to the present ``sys.stderr``, so that lines are printed above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # a broken log line must not break the program
            self.handleError(record)


def configure(
    level: str = "info", rank: int | None = None, run: str | None = None, as_json: bool = False
) -> None:
    """Send the ``dcgan`` loggers to standard error from ``level`` up; replaces an earlier call.

    Raises ``ValueError`` for an unknown level.
    """
    handler = StandardErrorHandler()
    handler.setLevel(level.upper())  # another handler may lower the level of the logger
    handler.setFormatter(
        JsonFormatter(rank, run) if as_json else TerminalFormatter(rank, _color_system())
    )
    logger = logging.getLogger("dcgan")
    logger.setLevel(level.upper())
    logger.handlers[:] = [handler]
    # Ray adds handlers to the root logger, which would print every line again.
    logger.propagate = False


def _color_system() -> ColorSystem | None:
    """Return None if standard error is not a terminal, is a dumb one, or NO_COLOR is set."""
    console = Console(stderr=True)
    has_colours = console.is_terminal and not console.is_dumb_terminal and not console.no_color
    return ColorSystem.STANDARD if has_colours else None


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
