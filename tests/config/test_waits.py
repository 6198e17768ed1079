"""The time that a save may wait, derived from the other limits of a run."""

import pytest

from job.config.load import load_run
from job.config.waits import save_wait_seconds


@pytest.mark.parametrize(
    ("uri", "train_seconds", "save_wait"),
    [
        # The defaults: a grid may take 20 s, and two attempts of 10 + 60 s.
        ("s3://bucket/run", 450, 0.8 * (450 - 160)),
        ("s3://bucket/run", 170, 8),
        ("runs/one", 60, 32),
        ("runs/one", 10, 0),
        ("runs/one", 0, 300),
        ("runs/one", 10_000, 300),
    ],
)
def test_a_save_waits_less_than_the_other_workers_may(
    uri: str, train_seconds: float, save_wait: float
) -> None:
    settings = [
        f"uri={uri}",
        f"watchdog.train_seconds={train_seconds}",
        "data.fetch_patience_seconds=5",
    ]
    spec = load_run("notebook", overrides=["data.uri=b", *settings])
    assert save_wait_seconds(spec) == pytest.approx(save_wait)
