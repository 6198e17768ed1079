"""What a worker tells the driver about its progress: the one value that the bar, the metrics and the logs are fed from.

Plain numbers only, so that it travels between processes as it is and importing it costs nothing.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Phase = Literal["start", "compile", "train", "sample", "checkpoint", "done"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class StepReport:
    """Where a run stands after ``step`` steps. Rates and losses are means over the steps since the last report."""

    step: int
    """Global steps done, over all restarts."""
    total_steps: int
    epoch: float
    """Passes over the data set done, with the fraction of the current one."""
    images: int
    """Real images seen by all workers together since step 0: ``step * global_batch_size``."""
    images_per_second: float
    """Of all workers together, pauses for samples and checkpoints included."""
    discriminator_loss: float
    generator_loss: float
    real_probability: float
    """Mean D(x) in [0, 1]: how sure the discriminator is that real images are real."""
    fake_probability: float
    """Mean D(G(z)) in [0, 1]: how sure it is that generated images are real."""
    discriminator_gradient_norm: float
    generator_gradient_norm: float
    """Sum over replicas of the norms of their parts of the gradient: the norm itself with one replica, never less than it with more."""
    step_seconds: float
    """Mean time of one step."""
    data_wait_seconds: float
    """Mean time per step that this worker waited for images."""
    compute_seconds: float
    """Mean time per step that this worker computed gradients. The worker with the most is the one that the others wait for.
    0 on GPUs."""
    sync_seconds: float = 0.0
    """The rest of the mean time of one step: gradients exchanged and applied, and the wait for the slowest worker."""
    checkpoint_step: int | None = None
    """Step of the last committed checkpoint; None before the first."""
    phase: Phase = "train"
    world_size: int = 1
    restarts: int = 0
    """How often the worker group was started again since the run began."""
    rank: int = 0


def seconds_left(progress: StepReport) -> float | None:
    """Time to the last step at the present throughput, in seconds; None while there is no throughput to go by."""
    steps_left = progress.total_steps - progress.step
    if steps_left <= 0:
        return 0.0
    if progress.step <= 0 or progress.images_per_second <= 0:
        return None
    images_per_step = progress.images / progress.step
    return steps_left * images_per_step / progress.images_per_second
