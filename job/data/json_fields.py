"""Read a JSON document: parse it, validate it against a dataclass, name the field that is wrong.

A document may come from anyone: every type here has a limit, and every message is one short line.

    @dataclass(frozen=True)
    class Part:
        name: Annotated[str, Matching(r"[a-z]{1,64}[.]npz", "letters, then .npz")]
        num_bytes: Annotated[int, Whole(0, MAX_PART_BYTES)]
        sha256: Sha256
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Len
from pydantic import InstanceOf
from pydantic_core import PydanticCustomError, core_schema

from job.config.validation import MAX_SHOWN, InvalidValue, WrongEntry, dotted, shown, validate
from job.storage.store import ObjectMissing, ObjectStore

T = TypeVar("T")

MAX_INTEGER = 2**63 - 1
MAX_TEXT = 10_000  # characters


class WrongField(Exception):
    """A field is missing or invalid; the caller adds the name of the file."""


@dataclass(frozen=True)
class Whole:
    """In ``Annotated[int, ...]``: a whole number from ``minimum`` to ``maximum``."""

    minimum: int | None = None
    maximum: int = MAX_INTEGER

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        low = "" if self.minimum is None else f" of at least {self.minimum}"
        minimum = -MAX_INTEGER if self.minimum is None else self.minimum
        number = core_schema.int_schema(strict=True, ge=minimum, le=self.maximum)
        return _expect(number, f"a whole number{low}, at most {self.maximum}")


@dataclass(frozen=True)
class Matching:
    """In ``Annotated[str, ...]``: text that matches ``pattern``; ``expected`` describes it."""

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        text = core_schema.str_schema(strict=True, pattern=f"^(?:{self.pattern})$")
        return _expect(text, self.expected)


@dataclass(frozen=True)
class Entries:
    """In ``Annotated[dict[str, ...], ...]``: an object whose (key, value) pairs are all good.

    Stops at the first bad one: pydantic would collect a million errors of a hostile document.
    """

    is_good: Callable[[str, Any], bool]
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, values: Any) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise PydanticCustomError("expected", "an object")
        for key, value in values.items():
            if not self.is_good(key, value):
                raise WrongEntry(key, value, self.expected)
        return values


@dataclass(frozen=True)
class _FirstError:
    """Stop at the first bad item of a list. (Pydantic's ``FailFast`` is not hashable.)"""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        schema: core_schema.CoreSchema = {**handler(source), "fail_fast": True}
        return schema


def _expect(schema: core_schema.CoreSchema, text: str) -> core_schema.CoreSchema:
    return core_schema.custom_error_schema(schema, "expected", custom_error_message=text)


def _is_whole(_: str, value: Any) -> bool:
    return type(value) is int and abs(value) <= MAX_INTEGER


def _is_text(_: str, value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_finite(_: str, value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


# Names of files that are not UTF-8 have lone surrogates; pydantic's own ``str`` refuses them.
Text = Annotated[InstanceOf[str], Len(max_length=MAX_TEXT)]
Sha256 = Annotated[str, Matching("[0-9a-f]{64}", "64 hexadecimal digits")]
Counts = Annotated[dict[str, int], Entries(_is_whole, f"a whole number, at most {MAX_INTEGER}")]
Texts = Annotated[dict[str, str], Entries(_is_text, "text")]
Numbers = Annotated[dict[str, float], Entries(_is_finite, "a finite number")]
Items = Annotated[tuple[T, ...], _FirstError()]


def plain(depth: int) -> Entries:
    """Allow text, finite numbers, true, false, null, and ``depth`` levels of objects and lists."""
    expected = f"printable names, finite numbers, short texts, at most {depth} levels"
    return Entries(lambda key, value: _is_plain({key: value}, depth + 1), expected)


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        names_are_plain = all(len(name) <= MAX_SHOWN and name.isprintable() for name in value)
        return depth > 0 and names_are_plain and _is_plain(list(value.values()), depth)
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    return value is None or isinstance(value, bool) or _is_text("", value) or _is_finite("", value)


def parse_object(data: bytes, max_bytes: int, version: int | None = None) -> dict[str, Any]:
    """Return the JSON object in ``data``, of format ``version`` if given; else ``WrongField``.

    Parsed, it takes up to 40 times its bytes of memory: ``max_bytes`` limits that.
    """
    if len(data) > max_bytes:
        raise WrongField(f"has more than {max_bytes:,} bytes; expected no more")
    try:
        fields = json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise WrongField(
            "is nested too deeply; expected a few levels of objects and lists"
        ) from None
    except ValueError as error:  # also text that is not UTF-8, and numbers of thousands of digits
        raise WrongField(f"is not JSON ({error}); expected one JSON object") from None
    if not isinstance(fields, dict):
        raise WrongField(f"the document is {shown(fields)}; expected an object")
    if version is not None:
        found = validate_fields(_Versioned, fields).format_version
        if found != version:
            raise WrongField(f"format_version is {found}; this program reads version {version}")
    return fields


def validate_fields(cls: type[T], fields: dict[str, Any]) -> T:
    """Return ``cls`` made of ``fields`` or raise ``WrongField``; unknown fields are ignored."""
    try:
        return validate(cls, fields)
    except InvalidValue as error:
        name = dotted(error.path)
        if error.is_missing:
            raise WrongField(f"{name} is missing") from None
        raise WrongField(f"{name} is {shown(error.value)}; expected {error.expected}") from None


def read_object(store: ObjectStore, key: str, max_bytes: int = 1 << 20) -> dict[str, Any]:
    """Return the JSON object at ``key``; ``{}`` if missing, too large or not an object."""
    try:
        return object_or_empty(store.read_range(key, 0, max_bytes + 1), max_bytes)
    except ObjectMissing:
        return {}


def object_or_empty(data: bytes, max_bytes: int = 1 << 20) -> dict[str, Any]:
    """Return the JSON object in ``data``; ``{}`` if it is too large or not an object."""
    try:
        return parse_object(data, max_bytes)
    except WrongField:
        return {}


@dataclass(frozen=True)
class _Versioned:
    format_version: Annotated[int, Whole()]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")
