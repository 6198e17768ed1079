"""Which worker this is: all that a worker knows of the others."""

import dataclasses
from typing import NamedTuple, Protocol

from job.config.spec import RunSpec
from job.telemetry.step_report import StepReport


class Topology(NamedTuple):
    """``rank`` of ``world_size`` worker processes; ``local_rank`` of ``local_world_size`` on this node; ``restarts`` of the group so far."""

    rank: int
    world_size: int
    local_rank: int = 0
    restarts: int = 0
    local_world_size: int = 1

    @property
    def is_chief(self) -> bool:
        """The one worker that writes: samples, checkpoints, the summary."""
        return self.rank == 0


class Requests(NamedTuple):
    """What is asked of a worker from outside: to ``stop`` after a last checkpoint, or to save often, because its node is about to be taken away."""

    stop: bool = False
    save: bool = False


class Listener(Protocol):
    """What a worker tells while it runs, and is told. Every worker calls the same methods at the same steps."""

    def wanted(self) -> Requests:
        """After every call: what is asked of this worker, or of another, now."""

    def progress(self, progress: StepReport, num_steps: int) -> None:
        """After every call, of ``num_steps`` steps, and with 0 steps at the start and after every checkpoint."""

    def note(self, text: str) -> None:
        """One line for the person who watches."""


def with_workers(spec: RunSpec, world_size: int) -> RunSpec:
    """``spec`` for as many workers as there are, which is not always ``workers.count``: nodes come and go."""
    return dataclasses.replace(spec, workers=dataclasses.replace(spec.workers, count=world_size))
