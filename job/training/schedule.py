"""The schedule: train calls, sample grids and checkpoints, all as functions of the step number.

Knows no clock and no rank. Train calls end at multiples of K and at every event, at whichever step
a run starts. So a resumed run makes the same calls as an uninterrupted one, and ends with the same
bits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from job.config.spec import RunSpec

# If `samples.every_steps` is unset: all workers wait for each grid, and epochs may be short.
MAX_GRIDS = 100
# If `quality.every_steps` is unset: images trained on for each image scored; under 5 % of the time.
TRAINED_PER_SCORED = 16


@dataclass(frozen=True)
class Schedule:
    """All numbers are steps: updates of both networks on one global batch."""

    total_steps: int
    steps_per_epoch: int
    steps_per_call: int
    sample_every: int
    checkpoint_every: int
    score_every: int

    @property
    def _intervals(self) -> tuple[int, ...]:
        return self.steps_per_call, self.sample_every, self.checkpoint_every, self.score_every

    def next_stop(self, step: int) -> int:
        """Return the end of the train call that starts at ``step``."""
        nearest = min((step // every + 1) * every for every in self._intervals)
        return min(nearest, self.total_steps)

    def calls(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield (first step, number of steps) of every train call from ``start`` to the end."""
        while start < self.total_steps:
            stop = self.next_stop(start)
            yield start, stop - start
            start = stop

    def samples_at(self, step: int) -> bool:
        """Return True if a grid is due after ``step`` steps; at 0 the generator is untrained."""
        return step % self.sample_every == 0 or step == self.total_steps

    def scores_at(self, step: int) -> bool:
        """Return True if scores are due after ``step`` steps, of a run with scores."""
        return (step % self.score_every == 0 or step == self.total_steps) and step > 0

    def checkpoints_at(self, step: int) -> bool:
        """Return True if a checkpoint is due after ``step`` steps."""
        return (step % self.checkpoint_every == 0 or step == self.total_steps) and step > 0


def plan(spec: RunSpec, num_rows: int) -> Schedule:
    """Return the schedule of ``spec`` on ``num_rows`` images; partial batches are dropped."""
    training = spec.training
    steps_per_epoch = max(1, num_rows // training.global_batch_size)
    total = training.steps or max(
        math.ceil((training.epochs or 0) * steps_per_epoch), training.min_steps
    )
    sample_every = spec.samples.every_steps or max(steps_per_epoch, math.ceil(total / MAX_GRIDS))
    checkpoint_every = spec.checkpoints.every_steps
    apart = TRAINED_PER_SCORED * spec.quality.num_images / training.global_batch_size
    score_every = spec.quality.every_steps or checkpoint_every * math.ceil(apart / checkpoint_every)
    return Schedule(
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        steps_per_call=training.steps_per_call,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
        score_every=score_every,
    )
