"""The ends of calls, the grids and the checkpoints are the same from any step on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.config.load import load_run
from job.training.schedule import Schedule, plan

counts = st.integers(1, 60)


@given(counts, counts, counts, counts, counts, st.integers(0, 200))
def test_a_resumed_run_makes_the_calls_of_the_whole_run(
    per_call: int, sample: int, checkpoint: int, score: int, total: int, start: int
) -> None:
    schedule = Schedule(total, 10, per_call, sample, checkpoint, score)
    whole = list(schedule.calls(0))
    assert [first for first, _ in whole] == [
        sum(num for _, num in whole[:index]) for index in range(len(whole))
    ]
    assert sum(num for _, num in whole) == total
    assert max(num for _, num in whole) <= per_call
    resumable = [first for first, _ in whole if first <= start]
    resumed_at = resumable[-1]
    assert list(schedule.calls(resumed_at)) == [call for call in whole if call[0] >= resumed_at]
    ends = {first + num for first, num in whole}
    assert all(
        step in ends
        for step in range(1, total + 1)
        if schedule.checkpoints_at(step) or schedule.samples_at(step) or schedule.scores_at(step)
    )


def test_epochs_become_steps_and_the_last_partial_batch_is_left_out() -> None:
    spec = load_run("notebook", overrides=["uri=a", "data.uri=b"])
    schedule = plan(spec, 60_000)
    assert (schedule.steps_per_epoch, schedule.total_steps, schedule.sample_every) == (
        1875,
        18750,
        1875,
    )
    assert plan(spec, 60_031).total_steps == 18750


@pytest.mark.parametrize(
    ("settings", "num_rows", "total_steps", "sample_every"),
    [
        ([], 800, 5000, 50),  # an epoch is 6 steps: 25 of them train nothing
        ([], 128, 5000, 50),
        ([], 60_000, 25 * 468, 468),
        ([], 1_000_000, 25 * 7812, 7812),
        (["training.epochs=25"], 800, 150, 6),
        (["training.steps=150"], 800, 150, 6),
        (["training.min_steps=100"], 800, 150, 6),
        (["training.epochs=1000"], 800, 6000, 60),
        (["samples.every_steps=7"], 800, 5000, 7),
    ],
)
def test_the_default_length_fits_few_and_many_images(
    settings: list[str], num_rows: int, total_steps: int, sample_every: int
) -> None:
    schedule = plan(load_run("dcgan64", overrides=["uri=a", "data.uri=b", *settings]), num_rows)
    assert (schedule.total_steps, schedule.sample_every) == (total_steps, sample_every)


def test_the_notebook_trains_its_epochs_however_few_images_there_are() -> None:
    assert plan(load_run("notebook", overrides=["uri=a", "data.uri=b"]), 800).total_steps == 250


def test_steps_win_over_epochs_and_the_last_step_has_grid_and_checkpoint() -> None:
    spec = load_run(
        "notebook",
        overrides=["uri=a", "data.uri=b", "training.steps=7", "checkpoints.every_steps=5"],
    )
    schedule = plan(spec, 60_000)
    assert [step for step in range(8) if schedule.checkpoints_at(step)] == [5, 7]
    assert [step for step in range(8) if schedule.samples_at(step)] == [0, 7]


@pytest.mark.parametrize("start", [7, 9])
def test_a_finished_run_has_no_calls(start: int) -> None:
    assert list(Schedule(7, 1, 1, 1, 1, 1).calls(start)) == []


@pytest.mark.parametrize(
    ("settings", "score_every"),
    [
        ([], 1000),  # 32,000 images
        (["training.global_batch_size=64"], 500),
        (["quality.num_images=4000"], 2000),
        (["checkpoints.every_steps=300"], 1200),
        (["checkpoints.every_steps=2000"], 2000),
        (["quality.every_steps=70"], 70),
    ],
)
def test_scores_are_at_checkpoints_and_not_too_often(settings: list[str], score_every: int) -> None:
    spec = load_run("notebook", overrides=["uri=a", "data.uri=b", *settings])
    schedule = plan(spec, 60_000)
    assert schedule.score_every == score_every
    assert not schedule.scores_at(0)
    assert schedule.scores_at(score_every)
    assert schedule.scores_at(schedule.total_steps)
