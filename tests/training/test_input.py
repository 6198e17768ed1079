"""The chunks of the train calls: those of the schedule, in the order of the samples."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DataError
from job.data.order import rows_at
from job.training.context import RunContext
from job.training.input import CHUNKS_AHEAD, Input
from job.training.open_reader import open_reader
from job.training.topology import Topology
from tests.data.samples import packed_rows
from tests.streaming.sets import NUM_CLASSES, batches_of, numbers_of
from tests.training.alone import Recorder, alone, spec_of

pytestmark = pytest.mark.training


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return alone(spec_of(tmp_path), Recorder())


def numbers(context: RunContext, start: int = 0) -> list[list[list[int]]]:
    """Return the numbers of the images: by call, by step, by place in the batch."""
    with open_reader(context, start) as reader:
        chunks = Input(
            context.spec, context.topology, reader, context.order, context.schedule, start
        )
        return [numbers_of(batches_of(chunk.numpy())).tolist() for (chunk,) in chunks]


def test_a_chunk_for_each_call_with_the_images_of_each_step(context: RunContext) -> None:
    calls = numbers(context)
    assert [len(call) for call in calls] == [num for _, num in context.schedule.calls(0)]
    steps = [step for call in calls for step in call]
    epoch = [number for step in steps[:5] for number in step]
    assert sorted(epoch) == list(range(40))  # each image once an epoch
    packed = packed_rows(Path(context.spec.data.uri), context.index)
    stored = numbers_of(packed)
    assert stored[rows_at(context.order, 0, 10)].tolist() == steps


def test_a_resumed_run_reads_what_the_whole_run_read_from_there(context: RunContext) -> None:
    assert numbers(context, start=4) == numbers(context)[2:]


def test_labels_are_in_the_order_of_the_images(tmp_path: Path) -> None:
    context = alone(spec_of(tmp_path, model__conditional=True), Recorder())
    for rank in (0, 1):
        worker = dataclasses.replace(context, topology=Topology(rank, 2))
        with open_reader(worker, 4) as reader:
            given = Input(
                worker.spec, worker.topology, reader, worker.order, worker.schedule, 4, NUM_CLASSES
            )
            for chunk, labels in given:
                assert np.array_equal(labels, numbers_of(chunk.numpy()) % NUM_CLASSES)


def test_a_label_of_no_class_is_refused(tmp_path: Path) -> None:
    """An index may come from anyone: labels beyond its classes would index past the networks."""
    context = alone(spec_of(tmp_path, model__conditional=True), Recorder())
    with open_reader(context, 0) as reader:
        given = Input(context.spec, context.topology, reader, context.order, context.schedule, 0, 3)
        with pytest.raises(DataError, match=r"set: labels from 0 to 6; expected 0 to 2"):
            next(iter(given))


def test_workers_share_the_images_of_a_step(context: RunContext) -> None:
    whole = numbers(context)
    halves = [numbers(dataclasses.replace(context, topology=Topology(rank, 2))) for rank in (0, 1)]
    for first, second, both in zip(*halves, whole, strict=True):
        assert [a + b for a, b in zip(first, second, strict=True)] == both


SHAPE = (8, 2, 1, 8, 8, 1)  # 8 stripes of one image, 2 steps


class Failing:
    """A reader that fails at a step, and counts its chunks."""

    def __init__(self, context: RunContext, step: int, error: Exception) -> None:
        self._step, self._error = step, error
        self.num_chunks = 0
        self.read = threading.Event()

    def chunk(self, first_step: int, num_steps: int) -> np.ndarray:
        self.num_chunks += 1
        self.read.set()
        if first_step == self._step:
            raise self._error
        return np.zeros(SHAPE, np.uint8)


def test_the_readers_error_keeps_its_type_after_the_chunks_before_it(context: RunContext) -> None:
    """tf.data would raise another error."""
    reader = Failing(context, 4, DataError("shard-00001.u8: has SHA-256 ab"))
    chunks = iter(Input(context.spec, context.topology, reader, context.order, context.schedule, 0))
    assert [next(chunks)[0].shape, next(chunks)[0].shape] == [SHAPE] * 2
    with pytest.raises(DataError, match="shard-00001"):
        next(chunks)


def test_few_chunks_are_read_ahead(context: RunContext) -> None:
    reader = Failing(context, -1, DataError("never"))
    chunks = iter(Input(context.spec, context.topology, reader, context.order, context.schedule, 0))
    next(chunks)
    assert reader.read.wait(10)
    assert reader.num_chunks <= 1 + CHUNKS_AHEAD + 1  # given, waiting, and being gathered
