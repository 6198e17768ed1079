"""Roll back after a divergence: record it, and train on with other noise."""

import logging
from functools import partial

from job.checkpoints.best import best_of
from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.training import divergence
from job.training.context import RunContext
from job.training.divergence import Diverged, WorseImages

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
    which, advice = "last", "Lower the learning rates or check the images"
    if isinstance(diverged.divergence, WorseImages):
        which, advice = "best", "Lower the learning rates or raise quality.rollback_ratio"
        if context.topology.is_chief:
            diverged.checkpoint_step = _quarantine_after_best(context, diverged.divergence)
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
            f" {advice}, then start again with a larger"
            " training.max_rollbacks, or into another run folder",
        )
    context.listeners.on_rollback()
    if context.topology.is_chief:
        context.listeners.on_note(
            f"{diverged}: rolling back to the {which} checkpoint ({checkpoint}), with other noise"
        )


def _quarantine_after_best(context: RunContext, worse: WorseImages) -> int | None:
    """Quarantine the checkpoints after the best score; return the newest step left, if any.

    They may already be on the way to the collapse.
    """
    best, checkpoints = best_of(worse.scores), Checkpoints(context.store)
    for _, manifest in context.retry(lambda: list(checkpoints.readable())):
        if best is None or manifest.step <= best.step:
            return manifest.step
        reason = f"after the best score, at step {best.step}; see divergences/"
        context.retry(partial(checkpoints.quarantine, manifest, reason))
    return None
