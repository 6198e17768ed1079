"""Documents of strangers: limits, and the cost of a document that is all errors."""

import json
import time
from dataclasses import dataclass
from typing import Annotated

import pytest

from job.data.json_fields import (
    Items,
    Whole,
    WrongField,
    object_or_empty,
    parse_object,
    validate_fields,
)


@dataclass(frozen=True)
class Entry:
    number: Annotated[int, Whole(0, 10)]


@dataclass(frozen=True)
class Document:
    entries: Items[Entry]


def test_a_list_of_errors_costs_no_more_than_its_first() -> None:
    data = json.dumps({"entries": [{}] * 300_000}).encode()
    with pytest.raises(WrongField):  # makes the validator, once in a process
        validate_fields(Document, {"entries": [{}]})
    started = time.process_time()
    fields = parse_object(data, len(data))
    parsed = time.process_time()
    with pytest.raises(WrongField, match=r"entries\[0\].number is missing"):
        validate_fields(Document, fields)
    # Collecting all errors takes a hundred times as long as parsing.
    assert time.process_time() - parsed < parsed - started


@pytest.mark.parametrize(
    ("value", "found"),
    [(True, "True"), ("1", "'1'"), (1.0, "1.0"), (-1, "-1"), (11, "11"), (None, "None")],
)
def test_a_whole_number_is_neither_text_nor_a_float(value: object, found: str) -> None:
    with pytest.raises(WrongField, match=rf"entries\[0\].number is {found}; expected a whole"):
        validate_fields(Document, {"entries": [{"number": value}]})


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": 1}', b"\xff"])
def test_what_is_not_a_small_object_counts_as_empty(data: bytes) -> None:
    assert object_or_empty(data, max_bytes=6) == {}
    assert object_or_empty(b'{"a":1}', max_bytes=7) == {"a": 1}
