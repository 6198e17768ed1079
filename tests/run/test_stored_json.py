"""Values that anybody may have written: another type counts as missing."""

from typing import Any

import pytest

from job.run.stored_json import MAX_STEP, as_number, as_object, as_step, as_text


@pytest.mark.parametrize("value", [None, 3, "text", [], [{}]])
def test_only_an_object_is_an_object(value: Any) -> None:
    assert as_object(value) == {}
    assert as_object({"a": value}) == {"a": value}


@pytest.mark.parametrize(
    ("value", "step"),
    [(0, 0), (MAX_STEP, MAX_STEP), (MAX_STEP + 1, None), (-1, None), (True, None), (3.0, None)],
)
def test_a_step_is_a_whole_number_in_bounds(value: Any, step: int | None) -> None:
    assert as_step(value) == step


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (-0.5, -0.5),
        (True, None),
        ("3", None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_a_number_is_finite(value: Any, number: float | None) -> None:
    assert as_number(value) == number


def test_text_is_short_and_has_no_control_characters() -> None:
    assert as_text("caf\u00e9\x1b[2J\n\u202e") == "caf\u00e9 [2J  "
    assert (as_text("x" * 300), as_text("x" * 300, 5)) == ("x" * 200, "x" * 5)
    assert as_text(b"bytes") == as_text(None) == ""
