"""Checkpoint from the loop: snapshot now, upload in the background. A no-op except on the chief."""

import datetime
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest, SaveReason
from job.checkpoints.uploader import Uploader
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
    context: RunContext,
    networks: Networks,
    noise_stream: int,
    committed_step: int | None,
    scored_by: dict[str, str] | None = None,
) -> Iterator["Checkpointer"]:
    """Yield this worker's ``Checkpointer``; on the chief with a upload thread.

    Only the chief's has a ``committed_step``: the loop sums it over the workers. ``scored_by`` is
    the basis of the scores among the metrics.
    """
    if not context.topology.is_chief:
        yield Checkpointer(context, networks, None, noise_stream)
        return
    spec, check = context.spec.checkpoints, _claim_checkpoints(context)
    with Uploader(
        Checkpoints(context.store), spec, check, save_wait_seconds(context.spec)
    ) as uploader:
        yield Checkpointer(context, networks, uploader, noise_stream, committed_step, scored_by)


class Checkpointer:
    """Saves ``networks``. ``committed_step`` is the last step that this run folder holds.

    ``uploader`` is the thread that uploads; None on all workers but the chief.
    """

    def __init__(
        self,
        context: RunContext,
        networks: Networks,
        uploader: Uploader | None,
        noise_stream: int,
        committed_step: int | None = None,
        scored_by: dict[str, str] | None = None,
    ):
        self._context, self._networks = context, networks
        self._uploader, self._noise_stream = uploader, noise_stream
        self._scored_by = scored_by or {}
        self._exporter = snapshot.Exporter(context.spec, context.classes) if uploader else None
        # Never saved again, because that would uncommit it first.
        self._requested_step = self.committed_step = committed_step

    def save(self, step: int, metrics: dict[str, float], reason: SaveReason) -> None:
        """Start to save this step, unless that was done already."""
        uploader, exporter = self._uploader, self._exporter
        if uploader is None or exporter is None or self._requested_step == step:
            return
        started = time.monotonic()
        taken = snapshot.take(self._networks, step)
        manifest = self._manifest(step, metrics, reason)
        uploader.save(manifest, lambda: snapshot.to_parts(taken, exporter))
        self._requested_step = step
        self._context.listeners.on_snapshot(time.monotonic() - started)

    def save_if_idle(self, step: int, metrics: dict[str, float]) -> None:
        """Save if no save is in flight: the node may be gone soon."""
        if self._uploader is not None and self._uploader.is_idle:
            self.save(step, metrics, "preemption")

    def check_finished_saves(self) -> None:
        """Report what the upload thread did since the last call.

        Raises the error that ended the thread: ``SaveFailed``, ``DivergedError`` or ``LeaseLost``.
        """
        for event in self._uploader.events() if self._uploader else ():
            self._context.listeners.on_save_event(event)
            if event.outcome == "committed":
                self.committed_step = event.step

    def wait_for_save(self) -> int | None:
        """Wait up to ``checkpoints.grace_seconds`` for the save in flight.

        Returns the last committed step.
        """
        if self._uploader is not None:
            grace_seconds = self._context.spec.checkpoints.grace_seconds
            self._wait(self._uploader, time.monotonic() + grace_seconds)
        return self.committed_step

    def finish(self, step: int, metrics: dict[str, float], reason: SaveReason) -> None:
        """Return when this step is committed.

        If the run was asked to stop, return after ``checkpoints.grace_seconds`` in any case.
        """
        if self._uploader is None or self.committed_step == step:
            return
        grace_seconds = self._context.spec.checkpoints.grace_seconds
        deadline = time.monotonic() + grace_seconds if reason == "preemption" else math.inf
        # Wait for the save in flight. If it is of another step or was skipped, save once more.
        for _ in range(2):
            self._wait(self._uploader, deadline)
            if self.committed_step == step or not self._uploader.is_idle:
                return
            self._requested_step = None
            self.save(step, metrics, reason)
        self._wait(self._uploader, deadline)

    def _wait(self, uploader: Uploader, deadline: float) -> None:
        """Wait until no save is in flight, and count failed requests meanwhile."""
        while (
            not uploader.finish(max(0.0, min(_POLL_SECONDS, deadline - time.monotonic())))
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
            classes=self._context.classes,
            scored_by=self._scored_by,
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
