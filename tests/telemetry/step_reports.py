"""A report in the middle of a run, for tests to vary."""

from dataclasses import replace
from typing import Any

from job.telemetry.step_report import StepReport

MIDDLE = StepReport(
    step=1240,
    total_steps=18750,
    epoch=0.66,
    images=39680,
    images_per_second=1810.4,
    discriminator_loss=0.512,
    generator_loss=1.2341,
    real_probability=0.71,
    fake_probability=0.24,
    discriminator_accuracy=0.83,
    discriminator_gradient_norm=0.31,
    generator_gradient_norm=0.42,
    step_seconds=0.0176,
    data_wait_seconds=0.0005,
    compute_seconds=0.0101,
    sync_seconds=0.007,
    world_size=2,
)


def report(**changes: Any) -> StepReport:
    return replace(MIDDLE, **changes)
