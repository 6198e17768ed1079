"""The time left of a run."""

import pytest

from job.telemetry.step_report import seconds_left
from tests.telemetry.step_reports import report


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # 900 steps of 32 images at 320 images/s.
        ({"step": 100, "images": 3200, "total_steps": 1000, "images_per_second": 320.0}, 90.0),
        ({"step": 1000, "images": 32000, "total_steps": 1000}, 0.0),
        ({"step": 0, "images": 0}, None),
        ({"images_per_second": 0.0}, None),
    ],
)
def test_seconds_left(changes: dict[str, float], expected: float | None) -> None:
    assert seconds_left(report(**changes)) == expected
