"""Declaration of a configuration field: default, documentation and limits in one place.

The same declaration is what the loader checks a value against and what ``docs/configuration.md`` is
generated from.
"""

from dataclasses import MISSING, field
from typing import Any


def key(
    default: Any = MISSING,
    doc: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
) -> Any:
    """Return a dataclass field with documentation, limits and choices.

    ``minimum`` and ``maximum`` are included, ``above`` is not.
    """
    metadata = {
        "doc": doc,
        "minimum": minimum,
        "maximum": maximum,
        "above": above,
        "choices": choices,
        "unit": unit,
    }
    return field(default=default, metadata=metadata)


def section(cls: type, doc: str) -> Any:
    """A nested dataclass, built from its own defaults."""
    return field(default_factory=cls, metadata={"doc": doc})
