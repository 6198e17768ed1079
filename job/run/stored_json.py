"""Read JSON documents of a run folder that anybody may have written.

A value of another type counts as missing; nothing here raises for content.
"""

from typing import Any

MAX_STEP = 10**12


def as_object(value: Any) -> dict[str, Any]:
    """Return ``value`` if it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}


def as_step(value: Any) -> int | None:
    """Return ``value`` if it is a step or a count."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STEP
    return value if is_count else None


def as_number(value: Any) -> float | None:
    """Return ``value`` as a float if it is a finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and -1e300 < value < 1e300 else None


def as_text(value: Any, max_length: int = 200) -> str:
    """Return the beginning of ``value`` without control characters; empty if it is not text."""
    if not isinstance(value, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in value[:max_length])
