"""Typed access to a JSON object, so that a wrong field is reported by its path, what was found there and what was expected."""

import re
from dataclasses import dataclass
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class WrongField(Exception):
    """A field that is missing or not what it should be; the caller adds which file it is in."""


@dataclass(frozen=True)
class JsonFields:
    """One JSON object and where it stands in its document (``shards[3]``); each method returns a field or raises ``WrongField``."""

    values: dict[str, Any]
    path: str

    @classmethod
    def of(cls, value: Any, path: str) -> "JsonFields":
        """Wrap ``value``, which must be a JSON object."""
        if not isinstance(value, dict):
            raise WrongField(f"{path or 'the document'} is {_shown(value)}; expected an object")
        return cls(value, path)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def integer(self, name: str, minimum: int | None = None) -> int:
        """A whole number, at least ``minimum``."""
        value = self._get(name)
        if type(value) is not int or (minimum is not None and value < minimum):
            bound = "" if minimum is None else f" of at least {minimum}"
            raise WrongField(f"{self._at(name)} is {_shown(value)}; expected a whole number{bound}")
        return value

    def optional_integer(self, name: str, minimum: int | None = None) -> int | None:
        """A whole number, at least ``minimum``, or null."""
        return self.integer(name, minimum) if self.has(name) else None

    def integers(self, name: str, minimum: int) -> list[int]:
        """A list of whole numbers."""
        value = self._get(name)
        if not isinstance(value, list) or any(type(item) is not int or item < minimum for item in value):
            raise WrongField(f"{self._at(name)} is {_shown(value)}; expected a list of whole numbers of at least {minimum}")
        return value

    def text(self, name: str) -> str:
        """A string."""
        value = self._get(name)
        if not isinstance(value, str):
            raise WrongField(f"{self._at(name)} is {_shown(value)}; expected text")
        return value

    def optional_text(self, name: str) -> str | None:
        """A string or null."""
        return self.text(name) if self.has(name) else None

    def boolean(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise WrongField(f"{self._at(name)} is {_shown(value)}; expected true or false")
        return value

    def sha256(self, name: str) -> str:
        """A SHA-256 in lower-case hex."""
        return self._matching(name, _SHA256, "64 hexadecimal digits")

    def file_name(self, name: str) -> str:
        """The name of a file beside the index: no ``/`` and no leading dot, so it cannot lead out of the data set."""
        return self._matching(name, _FILE_NAME, "a file name without a folder")

    def object(self, name: str) -> "JsonFields":
        """A nested object."""
        return JsonFields.of(self._get(name), self._at(name))

    def objects(self, name: str) -> list["JsonFields"]:
        """A list of objects."""
        value = self._get(name)
        if not isinstance(value, list):
            raise WrongField(f"{self._at(name)} is {_shown(value)}; expected a list")
        return [JsonFields.of(item, f"{self._at(name)}[{place}]") for place, item in enumerate(value)]

    def counts(self, name: str) -> dict[str, int]:
        """An object of whole numbers."""
        fields = self.object(name)
        return {key: fields.integer(key) for key in fields.values}

    def _matching(self, name: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.text(name)
        if not pattern.fullmatch(value):
            raise WrongField(f"{self._at(name)} is {_shown(value)}; expected {expected}")
        return value

    def _get(self, name: str) -> Any:
        if name not in self.values:
            raise WrongField(f"{self._at(name)} is missing")
        return self.values[name]

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
