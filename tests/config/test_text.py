"""Text for people: one line without control characters, numbers with their nouns."""

import pytest

from job.config.errors import DataError
from job.config.text import counted, printable

HOSTILE = "a\nb\x1b[31m\x9b2J\u202egnp"
ESCAPED = r"a\nb\x1b[31m\x9b2J\u202egnp"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (HOSTILE, ESCAPED),
        ("Türkçe ürün 😀 a b", "Türkçe ürün 😀 a b"),
        (r"C:\new", r"C:\new"),
        ("\udcff\u2028\x7f", r"\udcff\u2028\x7f"),
    ],
)
def test_text_is_one_line_without_control_characters(raw: str, shown: str) -> None:
    assert printable(raw) == shown
    assert printable(shown) == shown
    assert str(DataError(f"{raw}: damaged")) == f"{shown}: damaged"


def test_numbers_and_nouns() -> None:
    assert [counted(number, "worker") for number in (0, 1, 2, 1200)] == [
        "0 workers",
        "1 worker",
        "2 workers",
        "1,200 workers",
    ]
