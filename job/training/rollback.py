"""Roll back after a loss that is not finite: record it, and train on with other noise."""

import logging

from job.checkpoints.manifest import Manifest
from job.training import divergence
from job.training.context import RunContext
from job.training.divergence import Diverged

log = logging.getLogger("dcgan.training")


def current_noise_stream(context: RunContext, resumed: Manifest | None) -> int:
    """Return the number of the noise stream: a new one after each recorded divergence."""
    number = 0
    if context.topology.is_chief:
        recorded = context.retry(lambda: divergence.count(context.store))
        number = max(recorded, resumed.noise_stream if resumed else 0)
    return context.collectives.broadcast_from_chief(noise_stream=number)["noise_stream"]


def roll_back(context: RunContext, diverged: Diverged) -> None:
    """Record the divergence; raise it again after ``training.max_rollbacks``."""
    spec, number = context.spec, 0
    if context.topology.is_chief:
        key, number = divergence.record(context.store, diverged, spec.data.fetch_patience_seconds)
        log.warning("%s; the diagnosis is %s/%s", diverged, spec.uri.rstrip("/"), key)
    number = context.collectives.broadcast_from_chief(number=number)["number"]
    checkpoint = "none was saved yet"
    if diverged.checkpoint_step is not None:
        checkpoint = f"step {diverged.checkpoint_step} in {spec.uri}"
    if number > spec.training.max_rollbacks:
        context.listeners.on_finish()
        raise Diverged(
            diverged.divergence,
            diverged.checkpoint_step,
            f". That was number {number}, each with other noise"
            f" (training.max_rollbacks is {spec.training.max_rollbacks})."
            f" Last good checkpoint: {checkpoint}."
            " Lower the learning rates or check the images, then start again with a larger"
            " training.max_rollbacks, or into another run folder",
        )
    context.listeners.on_rollback()
    if context.topology.is_chief:
        context.listeners.on_note(
            f"{diverged}: going back to the last checkpoint ({checkpoint}), with other noise"
        )
