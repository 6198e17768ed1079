"""Validate plain values against a dataclass with pydantic; describe the first error briefly.

The only module that knows pydantic's kinds of error, so YAML (``load``) and JSON
(``job.data.json_fields``) report the same mistake in the same way.
The dataclasses are plain ones. Their scalars are strict: no text for a number, no true for 1.
"""

import functools
import re
import reprlib
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")

MAX_SHOWN = 80  # characters
_REPR = reprlib.Repr()  # plain ``repr`` of deeply nested JSON raises RecursionError
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MAX_SHOWN
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden", "invalid_key")
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "is_instance_of": "text",
    "too_long": "text of at most {max_length:,} characters",
    "tuple_type": "a list",
    "dataclass_type": "an object",
    "model_type": "a section with keys",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
}


class InvalidValue(Exception):
    """The value at ``path`` is missing, unknown or wrong; ``kind`` is pydantic's name for that."""

    def __init__(self, kind: str, path: tuple[str | int, ...], value: Any, expected: str):
        self.kind, self.path, self.value, self.expected = kind, path, value, expected
        self.is_missing, self.is_unknown = kind == "missing", kind in _UNKNOWN_KEY
        super().__init__(f"{dotted(path)}: {kind}")


class WrongEntry(ValueError):
    """For validators: the value of ``key`` is not ``expected``.

    The exception has no text: a hostile value may not be printable.
    """

    def __init__(self, key: str, value: Any, expected: str):
        super().__init__()
        self.key, self.value, self.expected = key, value, expected

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True)
class Expected:
    """In ``Annotated``: describe any error inside the value as one of the whole value."""

    text: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.custom_error_schema(
            handler(source), "expected", custom_error_message=self.text
        )


def validate(cls: type[T], values: Any) -> T:
    """Return ``cls`` made of ``values``; ``InvalidValue`` for the first error."""
    from pydantic import ValidationError

    try:
        made: T = _adapter(cast(Any, cls)).validate_python(values)
        return made
    except ValidationError as error:
        errors = error.errors(include_url=False)
    first = next((error for error in errors if error["type"] in _UNKNOWN_KEY), errors[0])
    kind, path, context = first["type"], first["loc"], first.get("ctx", {})
    if kind == "literal_error":
        context = {"expected": ", ".join(re.findall("'([^']*)'", context["expected"]))}
    value = first["input"]
    expected = _EXPECTED[kind].format(**context) if kind in _EXPECTED else first["msg"]
    if isinstance(wrong := context.get("error"), WrongEntry):
        path, value, expected = (*path, wrong.key), wrong.value, wrong.expected
    raise InvalidValue(kind, path, value, expected)


def dotted(path: tuple[str | int, ...]) -> str:
    """Return ``shards[3].name``; a name that is long or not printable is shortened and quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if len(part) <= MAX_SHOWN and part.isprintable() else shown(part)
            text += f".{name}" if text else name
    return text


def shown(value: Any) -> str:
    """Return ``value`` for a message: one short line."""
    text = _REPR.repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


@functools.cache
def _adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)
