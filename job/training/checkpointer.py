"""Checkpoint from the loop: snapshot now, upload in the background. A no-op except on the chief."""

import datetime
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest, SaveReason
from job.checkpoints.saver import Saver
from job.checkpoints.writer import claim
from job.config.versions import versions
from job.config.waits import save_wait_seconds
from job.gan.networks import Networks
from job.training import snapshot
from job.training.context import RunContext
from job.training.identity import model_identity, order_identity, settings_of

_POLL_SECONDS = 1.0


@contextmanager
def open_checkpointer(
    context: RunContext, networks: Networks, noise_stream: int, committed_step: int | None
) -> Iterator["Checkpointer"]:
    """Yield this worker's ``Checkpointer``; on the chief with a saver thread.

    Only the chief's has a ``committed_step``: the loop sums it over the workers.
    """
    if not context.topology.is_chief:
        yield Checkpointer(context, networks, None, noise_stream)
        return
    spec, check = context.spec.checkpoints, _claim_checkpoints(context)
    with Saver(Checkpoints(context.store), spec, check, save_wait_seconds(context.spec)) as saver:
        yield Checkpointer(context, networks, saver, noise_stream, committed_step)


class Checkpointer:
    """Saves ``networks``. ``committed_step`` is the last step that this run folder holds.

    ``saver`` is the thread that uploads; None on all workers but the chief.
    """

    def __init__(
        self,
        context: RunContext,
        networks: Networks,
        saver: Saver | None,
        noise_stream: int,
        committed_step: int | None = None,
    ):
        self._context, self._networks = context, networks
        self._saver, self._noise_stream = saver, noise_stream
        self._exporter = snapshot.Exporter(context.spec) if saver else None
        # Never saved again, because that would uncommit it first.
        self._requested_step = self.committed_step = committed_step

    def save(self, step: int, metrics: dict[str, float], reason: SaveReason) -> None:
        """Start to save this step, unless that was done already."""
        saver, exporter = self._saver, self._exporter
        if saver is None or exporter is None or self._requested_step == step:
            return
        started = time.monotonic()
        taken = snapshot.take(self._networks, step)
        manifest = self._manifest(step, metrics, reason)
        saver.save(manifest, lambda: snapshot.to_parts(taken, exporter))
        self._requested_step = step
        self._context.listeners.on_snapshot(time.monotonic() - started)

    def save_if_idle(self, step: int, metrics: dict[str, float]) -> None:
        """Save if no save is in flight: the node may be gone soon."""
        if self._saver is not None and self._saver.is_idle:
            self.save(step, metrics, "preemption")

    def check_finished_saves(self) -> None:
        """Report what the saver thread did since the last call.

        Raises the error that ended the thread: ``SaveFailed``, ``DivergedError`` or ``LeaseLost``.
        """
        for event in self._saver.events() if self._saver else ():
            self._context.listeners.on_save_event(event)
            if event.outcome == "committed":
                self.committed_step = event.step

    def wait_for_save(self) -> int | None:
        """Wait up to ``checkpoints.grace_seconds`` for the save in flight.

        Returns the last committed step.
        """
        if self._saver is not None:
            grace_seconds = self._context.spec.checkpoints.grace_seconds
            self._wait(self._saver, time.monotonic() + grace_seconds)
        return self.committed_step

    def finish(self, step: int, metrics: dict[str, float], reason: SaveReason) -> None:
        """Return when this step is committed.

        If the run was asked to stop, return after ``checkpoints.grace_seconds`` in any case.
        """
        if self._saver is None or self.committed_step == step:
            return
        grace_seconds = self._context.spec.checkpoints.grace_seconds
        deadline = time.monotonic() + grace_seconds if reason == "preemption" else math.inf
        # Wait for the save in flight. If it is of another step or was skipped, save once more.
        for _ in range(2):
            self._wait(self._saver, deadline)
            if self.committed_step == step or not self._saver.is_idle:
                return
            self._requested_step = None
            self.save(step, metrics, reason)
        self._wait(self._saver, deadline)

    def _wait(self, saver: Saver, deadline: float) -> None:
        """Wait until no save is in flight, and count failed requests meanwhile."""
        while (
            not saver.finish(max(0.0, min(_POLL_SECONDS, deadline - time.monotonic())))
            and time.monotonic() < deadline
        ):
            self.check_finished_saves()
        self.check_finished_saves()

    def _manifest(self, step: int, metrics: dict[str, float], reason: SaveReason) -> Manifest:
        spec = self._context.spec
        return Manifest(
            step=step,
            images_seen=step * spec.training.global_batch_size,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            model=model_identity(spec),
            data_fingerprint=self._context.index.fingerprint,
            order=order_identity(spec),
            world_size=self._context.topology.world_size,
            metrics=metrics,
            versions=versions(),
            parts=(),
            settings=settings_of(spec),
            noise_stream=self._noise_stream,
            reason=reason,
        )


def _claim_checkpoints(context: RunContext) -> Callable[[], None]:
    """Claim the run folder's checkpoints for this attempt of the workers.

    Returns a check that raises if the run folder, or the claim, belongs to another by now.
    """
    # Without a lease the store may lack conditional writes.
    conditional = context.spec.checkpoints.lease_seconds > 0
    check_claim = context.retry(
        lambda: claim(
            context.store, context.attempt, context.check_ownership, conditional=conditional
        )
    )

    def check() -> None:
        context.check_ownership()
        check_claim()

    return check
