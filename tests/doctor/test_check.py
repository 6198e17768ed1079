"""An error's text becomes what was found and what to do."""

import pytest

from job.config.errors import ConfigError, DataError, StorageError
from job.doctor.check import Check, check, failed


@pytest.mark.parametrize(
    ("text", "found", "advice"),
    [
        ("a.b is 3; expected 4. Set it", "a.b is 3", "expected 4. Set it"),
        (
            "s3://b: cannot write: denied (AccessDenied: a; b); allow it; or not",
            "s3://b: cannot write: denied (AccessDenied: a; b)",
            "allow it; or not",
        ),
        ("it is broken", "it is broken", "correct this, then run doctor again"),
        ("a ( b; c", "a ( b; c", "correct this, then run doctor again"),
    ],
)
def test_the_halves_of_a_message(text: str, found: str, advice: str) -> None:
    assert failed("name", DataError(text)) == Check("name", "error", found, advice, 5)


def test_a_better_advice_replaces_that_of_the_message() -> None:
    assert failed("name", StorageError("x; do y"), "do z")[2:] == ("x", "do z", 3)


def test_a_text_is_ok_and_an_error_is_not() -> None:
    def fail() -> str:
        raise ConfigError("a is b; expected c")

    assert check("name", lambda: "fine") == Check("name", "ok", "fine")
    assert check("name", lambda: Check("n", "warning", "w")) == Check("n", "warning", "w")
    assert check("name", fail) == Check("name", "error", "a is b", "expected c", 2)
