"""The place of a worker process in its group."""

from typing import NamedTuple

from job.config.spec import RunSpec


class Topology(NamedTuple):
    """``rank`` of ``world_size`` workers, ``local_rank`` of ``local_world_size`` on this node.

    ``restarts`` counts the restarts of the group so far.
    """

    rank: int
    world_size: int
    local_rank: int = 0
    restarts: int = 0
    local_world_size: int = 1

    @property
    def is_chief(self) -> bool:
        """True for the one worker that writes samples, checkpoints and the summary."""
        return self.rank == 0


def with_workers(spec: RunSpec, world_size: int) -> RunSpec:
    """Return ``spec`` with ``workers.count`` set to the actual number of workers."""
    return spec.replace(workers=spec.workers.replace(count=world_size))
