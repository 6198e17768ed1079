"""The keys of a run by their dotted names, and the message for a name that is none of them."""

import difflib
import functools
import re

from pydantic.fields import FieldInfo

from job.config.fields import Section
from job.config.spec import RunSpec

SECRET_NAME = re.compile(r"secret|password|passwd|token|credential|access_key", re.IGNORECASE)
NO_CREDENTIALS = (
    "credentials do not belong in a configuration; use the standard AWS variables, a profile or a"
    " role"
)


@functools.cache
def all_keys() -> dict[str, FieldInfo]:
    """Return the field of every key, sections included, in the order of the models."""
    return _fields(RunSpec, "")


@functools.cache
def value_keys() -> dict[str, FieldInfo]:
    """Return the field of every key that has a value: not of sections."""
    return {key: field for key, field in all_keys().items() if not _section_of(field)}


def nearest_key(name: str, keys: list[str]) -> str | None:
    """Return the one of ``keys`` that is most like ``name``, or ends with it; None if none is."""
    nearest = difflib.get_close_matches(name.lower(), keys, n=1, cutoff=0.6)
    last = name.lower().rpartition(".")[2]
    return next(iter(nearest or [key for key in keys if key.rpartition(".")[2] == last]), None)


def unknown_key(section: str, name: str) -> str:
    """Return the message for ``name``, which is not a key of ``section`` ("" for the top)."""
    prefix = f"{section}." if section else ""
    if SECRET_NAME.search(name):
        return f"{prefix}{name}: {NO_CREDENTIALS}"
    known = [key for key in all_keys() if key != section]
    nearest = nearest_key(prefix + name, known)
    here = sorted(key.removeprefix(prefix) for key in known if key.rpartition(".")[0] == section)
    hint = f"; did you mean {nearest}?" if nearest else f"; known here: {', '.join(here)}"
    return f"{prefix}{name}: unknown key{hint}"


def _fields(section: type[Section], prefix: str) -> dict[str, FieldInfo]:
    fields: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        fields[prefix + name] = field
        if nested := _section_of(field):
            fields |= _fields(nested, f"{prefix}{name}.")
    return fields


def _section_of(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None
