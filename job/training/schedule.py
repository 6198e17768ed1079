"""When things happen: total steps, the steps of each call, sample grids and checkpoints, all as functions of the step number.

Knows no clock and no rank. Calls end at multiples of K and at every event, whatever step a run started from; so a resumed run makes the very
calls that the uninterrupted run makes, which is what lets it end with the same bits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from job.config.spec import RunSpec

MAX_GRIDS = 100  # of a run with `samples.every_steps` unset: all workers wait for each, and an epoch of few images is a few steps


@dataclass(frozen=True)
class Schedule:
    """All in steps. A step is one update of both networks on one global batch."""

    total_steps: int
    steps_per_epoch: int
    steps_per_call: int
    sample_every: int
    checkpoint_every: int

    def next_stop(self, step: int) -> int:
        """The end of the call that starts at ``step``."""
        nearest = min(
            (step // every + 1) * every
            for every in (self.steps_per_call, self.sample_every, self.checkpoint_every)
        )
        return min(nearest, self.total_steps)

    def calls(self, start: int) -> Iterator[tuple[int, int]]:
        """(first step, number of steps) of every call from ``start`` to the end."""
        while start < self.total_steps:
            stop = self.next_stop(start)
            yield start, stop - start
            start = stop

    def samples_at(self, step: int) -> bool:
        """Whether a grid is made when ``step`` steps are done; step 0 shows the untrained generator."""
        return step % self.sample_every == 0 or step == self.total_steps

    def checkpoints_at(self, step: int) -> bool:
        """Whether the state is saved when ``step`` steps are done."""
        return (step % self.checkpoint_every == 0 or step == self.total_steps) and step > 0


def plan(spec: RunSpec, num_rows: int) -> Schedule:
    """Return the schedule of ``spec`` on ``num_rows`` images; the last partial batch of an epoch is left out."""
    training = spec.training
    steps_per_epoch = max(1, num_rows // training.global_batch_size)
    total = training.steps or max(
        math.ceil((training.epochs or 0) * steps_per_epoch), training.min_steps
    )
    sample_every = spec.samples.every_steps or max(steps_per_epoch, math.ceil(total / MAX_GRIDS))
    return Schedule(
        total, steps_per_epoch, training.steps_per_call, sample_every, spec.checkpoints.every_steps
    )
