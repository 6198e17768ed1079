"""The progress that a worker reports: the source of the bar, the metrics and the status.

Plain numbers only, so it can be sent between processes and imported at no cost.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Phase = Literal["start", "compile", "train", "sample", "score", "checkpoint", "done"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class StepReport:
    """Progress after ``step`` steps. Rates and losses are means since the last report."""

    step: int
    """Global steps done, over all restarts."""
    total_steps: int
    epoch: float
    """Passes over the data set, with the fraction of the current one."""
    images: int
    """Real images seen by all workers together since step 0: ``step * global_batch_size``."""
    images_per_second: float
    """Of all workers together, including pauses for samples and checkpoints."""
    discriminator_loss: float
    generator_loss: float
    real_probability: float
    """Mean D(x): the discriminator's probability that real images are real."""
    fake_probability: float
    """Mean D(G(z)): its probability that generated images are real."""
    discriminator_accuracy: float
    """Share of pairs of a real and a generated image that D orders rightly, 0 to 1; half: it cannot
    tell them apart."""
    discriminator_gradient_norm: float
    generator_gradient_norm: float
    """Sum of the norms of the replicas' gradients: an upper bound of the gradient's norm."""
    step_seconds: float
    """Mean time of one step."""
    data_wait_seconds: float
    """Mean time per step that this worker waited for images."""
    compute_seconds: float
    """Mean time per step that this worker computed gradients; 0 on GPUs. The others wait for the
    slowest worker."""
    sync_seconds: float = 0.0
    """Rest of the mean step time: exchange and apply gradients, wait for the slowest worker."""
    checkpoint_step: int | None = None
    """Step of the last committed checkpoint; None before the first."""
    phase: Phase = "train"
    world_size: int = 1
    restarts: int = 0
    """Restarts of the worker group in this attempt of the program."""
    rank: int = 0


def seconds_left(report: StepReport) -> float | None:
    """Return the time to the last step at the present throughput; None without a throughput."""
    steps_left = report.total_steps - report.step
    if steps_left <= 0:
        return 0.0
    if report.step <= 0 or report.images_per_second <= 0:
        return None
    images_per_step = report.images / report.step
    return steps_left * images_per_step / report.images_per_second
