"""The training loop of one worker: reports, grids and saves at their steps, stops and failures."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from job.checkpoints.checkpoints import Checkpoints
from job.gan.networks import Networks, build_networks
from job.gan.step import METRICS
from job.run.layout import GRIDS, grid_key
from job.training.checkpointer import open_checkpointer
from job.training.divergence import Diverged
from job.training.input import Input
from job.training.listeners import Requests
from job.training.loop import Loop
from job.training.multi_step import TrainCall, build_train_call
from job.training.open_reader import open_reader
from tests.streaming.sets import numbers_of
from tests.training.alone import Recorder, alone, spec_of

pytestmark = pytest.mark.training


class Trained(NamedTuple):
    """The outcome of a loop: its events, and the steps of its checkpoints and grids."""

    driver: Recorder
    is_done: bool
    num_first_calls: int
    reasons: dict[int, str]
    grids: list[str]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return build_networks(spec_of(tmp_path_factory.mktemp("unused")))


@pytest.fixture(scope="module")
def train_call(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> TrainCall:
    """Traced once for all tests; the weights are trained further by each."""
    spec = spec_of(tmp_path_factory.mktemp("unused"))
    return build_train_call(spec, tf.distribute.get_strategy(), networks)


@pytest.fixture
def train(tmp_path: Path, networks: Networks, train_call: TrainCall) -> Callable[..., Trained]:
    def train(
        requests: dict[int, Requests] | None = None,
        call: TrainCall = train_call,
        **settings: object,
    ) -> Trained:
        driver = Recorder(requests)
        context = alone(spec_of(tmp_path, **settings), driver)
        checkpoints = Checkpoints(context.store)
        resumed = next(iter(checkpoints.committed()), None)
        start, first_calls = resumed.step if resumed else 0, []
        with (
            open_checkpointer(context, networks, 0, start or None) as checkpointer,
            open_reader(context, start) as reader,
        ):
            loop = Loop(
                context, networks, call, checkpointer, resumed, lambda: first_calls.append(1)
            )
            images = Input(
                context.spec, context.topology, reader, context.order, context.schedule, start
            )
            is_done = loop.run(images)
        return Trained(
            driver,
            is_done,
            len(first_calls),
            {manifest.step: manifest.reason for manifest in checkpoints.committed()},
            sorted(entry.key for entry in context.store.list(GRIDS)),
        )

    return train


def test_calls_grids_and_checkpoints_are_those_of_the_schedule(
    train: Callable[..., Trained],
) -> None:
    trained = train(checkpoints__keep=9)
    driver = trained.driver
    assert trained.is_done
    assert trained.num_first_calls == 1
    assert trained.reasons == {10: "end", 8: "schedule", 4: "schedule"}
    assert trained.grids == [grid_key(step) for step in (0, 4, 8, 10)]
    assert list(driver.grids) == [0, 4, 8, 10]
    reports = [report for report in driver.reports if report.phase == "train"]
    assert [report.step for report in reports] == [2, 4, 6, 8, 10]
    assert driver.phases[0] == "sample"
    assert numbers_of(driver.first_images).size == 16  # of the first call
    last = reports[-1]
    assert (last.images, last.epoch, last.total_steps) == (80, 2.0, 10)
    assert last.images_per_second > 0
    assert 0 < last.compute_seconds <= last.step_seconds


def test_the_first_images_come_with_their_classes(
    tmp_path: Path, networks: Networks, train_call: TrainCall
) -> None:
    driver = Recorder()
    context = alone(spec_of(tmp_path), driver)
    with (
        open_checkpointer(context, networks, 0, None) as checkpointer,
        open_reader(context, 0) as reader,
    ):

        def unlabelled(chunk: tf.Tensor, step: tf.Tensor, labels: tf.Tensor):
            return train_call(chunk, step)

        loop = Loop(context, networks, unlabelled, checkpointer, None, lambda: None)
        given = Input(context.spec, context.topology, reader, context.order, context.schedule, 0)
        corners = ((chunk, tf.cast(chunk[..., 0, 0, 0], tf.int32)) for (chunk,) in given)
        assert loop.run(corners)
    assert driver.first_labels is not None
    assert driver.first_labels.tolist() == driver.first_images[:, 0, 0, 0].tolist()
    assert len(set(driver.first_labels.tolist())) > 1


def test_a_stop_saves_the_step_and_the_next_loop_resumes_there(
    train: Callable[..., Trained],
) -> None:
    stopped = train({6: Requests(stop=True)})
    assert not stopped.is_done
    assert stopped.reasons == {6: "preemption", 4: "schedule"}
    resumed = train()
    assert resumed.is_done
    assert resumed.driver.reports[0].step == 6
    assert [report.step for report in resumed.driver.reports if report.phase == "train"] == [8, 10]
    assert list(resumed.driver.grids) == [8, 10]


def test_a_stop_at_the_last_step_is_the_end(train: Callable[..., Trained]) -> None:
    assert train({10: Requests(stop=True)}).is_done


def test_a_node_that_will_go_is_saved_often(train: Callable[..., Trained]) -> None:
    trained = train({2: Requests(save=True)}, checkpoints__keep=9)
    assert trained.reasons[2] == "preemption"


def test_a_number_that_is_not_finite_ends_the_loop_after_the_save_before_it(
    train: Callable[..., Trained], train_call: TrainCall, tmp_path: Path
) -> None:
    def bad_call(chunk: tf.Tensor, first_step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        metrics, measures = (values.numpy() for values in train_call(chunk, first_step))
        if int(first_step) == 4:
            metrics[1, METRICS.index("generator_loss")] = np.inf
            measures[1, METRICS.index("generator_loss")] = np.inf
        return tf.constant(metrics), tf.constant(measures)

    with pytest.raises(Diverged, match="step 6: generator_loss is inf") as caught:
        train(call=bad_call)
    assert caught.value.checkpoint_step == 4
    assert (caught.value.divergence.step, caught.value.divergence.ranks) == (6, (0,))
    (manifest,) = Checkpoints(alone(spec_of(tmp_path), Recorder()).store).committed()
    assert manifest.step == 4
