"""The layout of a run folder: names that sort by time and step, and steps read from them."""

import datetime

import pytest

from job.run.layout import grid_key, grid_step, log_key, run_name, start_key, start_name


def test_names_sort_in_the_order_of_time() -> None:
    first, second = start_name("20260102T030405Z", 2), start_name("20260102T030405Z", 10)
    assert first < second < start_name("20260102T030406Z", 0)
    assert log_key(first, "rank001", 2) < log_key(first, "rank001", 10)
    assert grid_key(900) < grid_key(1000)
    time = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert start_key(time) == "starts/20260102T030405Z.json"


@pytest.mark.parametrize(
    ("key", "step"),
    [
        (grid_key(1200), 1200),
        ("samples/step-x.png", None),
        ("samples/step-²²².png", None),
        ("samples/step-0000000000001.png", None),
        ("samples/progress.gif", None),
    ],
)
def test_only_a_grid_has_a_step(key: str, step: int | None) -> None:
    assert grid_step(key) == step


@pytest.mark.parametrize("uri", ["s3://bucket/runs/one", "/runs/one/", "one"])
def test_a_run_is_named_by_its_folder(uri: str) -> None:
    assert run_name(uri) == "one"
