"""Typed access to a JSON object, so that a wrong field is reported by its path, what was found there and what was expected.

What is read was written by a stranger as far as we know: no text makes a message long or breaks a terminal, no number is too large to work with.
"""

import json
import re
import reprlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_INTEGER = 2**63 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_MAX_SHOWN = 80  # characters
_MAX_TEXT = 10_000  # characters, where nothing else is said
_SHORTENED = (
    reprlib.Repr()
)  # ``repr`` of a value nested as deeply as JSON may be is a RecursionError
_SHORTENED.maxstring = _SHORTENED.maxother = _SHORTENED.maxlong = _MAX_SHOWN


class WrongField(Exception):
    """A field that is missing or not what it should be; the caller adds which file it is in."""


@dataclass(frozen=True)
class JsonFields:
    """One JSON object and where it stands in its document (``shards[3]``); each method returns a field or raises ``WrongField``."""

    values: dict[str, Any]
    path: str

    @classmethod
    def parse(cls, data: bytes, max_bytes: int) -> "JsonFields":
        """The document. Parsed, it takes up to some 40 times its bytes of memory: that is what ``max_bytes`` is for."""
        if len(data) > max_bytes:
            raise WrongField(f"has more than {max_bytes:,} bytes; expected no more")
        try:
            return cls.of(json.loads(data, parse_constant=_refuse), "")
        except RecursionError:
            raise WrongField(
                "is nested too deeply; expected a few levels of objects and lists"
            ) from None
        except (
            ValueError
        ) as error:  # also text that is not UTF-8, and numbers of thousands of digits
            raise WrongField(f"is not JSON ({error}); expected one JSON object") from None

    @classmethod
    def of(cls, value: Any, path: str) -> "JsonFields":
        """Wrap ``value``, which must be a JSON object."""
        if not isinstance(value, dict):
            raise WrongField(f"{path or 'the document'} is {shown(value)}; expected an object")
        return cls(value, path)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def integer(self, name: str, minimum: int = -MAX_INTEGER, maximum: int = MAX_INTEGER) -> int:
        """A whole number from ``minimum`` to ``maximum``."""
        value = self._get(name)
        if type(value) is not int or not minimum <= value <= maximum:
            lower = "" if minimum == -MAX_INTEGER else f" of at least {minimum}"
            upper = f", at most {maximum}" if type(value) is int and value > maximum else ""
            raise self._wrong(name, f"a whole number{lower}{upper}")
        return value

    def optional_integer(self, name: str, minimum: int = -MAX_INTEGER) -> int | None:
        """A whole number, at least ``minimum``, or null."""
        return self.integer(name, minimum) if self.has(name) else None

    def integers(self, name: str, minimum: int) -> list[int]:
        """A list of whole numbers."""
        value = self._get(name)
        if not isinstance(value, list) or any(
            type(item) is not int or not minimum <= item <= MAX_INTEGER for item in value
        ):
            raise self._wrong(name, f"a list of whole numbers of at least {minimum}")
        return value

    def text(self, name: str) -> str:
        """A string, of a length that is no attack."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise self._wrong(
                name,
                "text"
                if not isinstance(value, str)
                else f"text of at most {_MAX_TEXT:,} characters",
            )
        return value

    def optional_text(self, name: str) -> str | None:
        """A string or null."""
        return self.text(name) if self.has(name) else None

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def sha256(self, name: str) -> str:
        """A SHA-256 in lower-case hex."""
        return self.matching(name, _SHA256, "64 hexadecimal digits")

    def file_name(self, name: str) -> str:
        """The name of a file beside the index: no ``/`` and no leading dot, so it cannot lead out of the data set."""
        return self.matching(name, _FILE_NAME, "a file name without a folder")

    def matching(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        """A string that is ``pattern`` as a whole; ``expected`` says it in words."""
        value = self.text(name)
        if not pattern.fullmatch(value):
            raise self._wrong(name, expected)
        return value

    def object(self, name: str) -> "JsonFields":
        """A nested object."""
        return JsonFields.of(self._get(name), self._at(name))

    def objects(self, name: str) -> "Iterator[JsonFields]":
        """A list of objects, each looked at when its turn comes."""
        value = self._get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return (
            JsonFields.of(item, f"{self._at(name)}[{place}]") for place, item in enumerate(value)
        )

    def counts(self, name: str) -> dict[str, int]:
        """An object of whole numbers."""
        fields = self.object(name)
        return {key: fields.integer(key) for key in fields.values}

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings."""
        fields = self.object(name)
        return {key: fields.text(key) for key in fields.values}

    def numbers(self, name: str) -> dict[str, float]:
        """An object of finite numbers."""
        fields = self.object(name)
        for key, value in fields.values.items():
            if type(value) not in (int, float) or not _is_plain(value, 0):
                raise fields._wrong(key, "a finite number")
        return {key: float(value) for key, value in fields.values.items()}

    def plain(self, name: str, depth: int) -> dict[str, Any]:
        """An object of text, finite numbers, true, false, null, and at most ``depth`` levels of objects and lists of such."""
        fields = self.object(name)
        for key, value in fields.values.items():
            if not _is_plain({key: value}, depth + 1):
                raise fields._wrong(
                    key, f"printable names, finite numbers, short texts, at most {depth} levels"
                )
        return fields.values

    def _wrong(self, name: str, expected: str) -> WrongField:
        return WrongField(f"{self._at(name)} is {shown(self.values[name])}; expected {expected}")

    def _get(self, name: str) -> Any:
        if name not in self.values:
            raise WrongField(f"{self._at(name)} is missing")
        return self.values[name]

    def _at(self, name: str) -> str:
        name = name if len(name) <= _MAX_SHOWN and name.isprintable() else shown(name)
        return f"{self.path}.{name}" if self.path else name


def shown(value: Any) -> str:
    """``value`` for a message: one short line, whatever it is."""
    text = _SHORTENED.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        names_are_plain = all(len(name) <= _MAX_SHOWN and name.isprintable() for name in value)
        return (
            depth > 0
            and names_are_plain
            and all(_is_plain(item, depth - 1) for item in value.values())
        )
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    return value is None or abs(value) <= sys.float_info.max  # 1e999 is JSON, and infinite


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number that JSON knows")
