"""The training loop of one worker: call, look at the losses, and at the schedule's stops make a grid or a checkpoint.

Every worker runs the same loop over the same steps. What only the chief does (write) happens between collective operations, never inside one.
After each call the workers agree on what any of them knows: whether to stop, what is committed, whether the chief cannot go on.
"""

import logging
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from job.checkpoints.manifest import Manifest, SaveReason
from job.config.errors import DivergedError
from job.config.spec import RunSpec
from job.gan.networks import Networks
from job.gan.step import MEASURES, METRICS
from job.storage.store import ObjectStore
from job.telemetry import logs
from job.telemetry.step_report import Phase, StepReport
from job.training import snapshot
from job.training.divergence import MAX_RANKS, Diverged, Divergence, first_bad
from job.training.input import Input
from job.training.multi_step import Call
from job.training.observer import Observer
from job.training.resume import Resume
from job.training.samples import save_grid
from job.training.saving import Saving
from job.training.schedule import Schedule
from job.training.strategy import Agreement
from job.training.topology import Topology

log = logging.getLogger("dcgan.training")

NUM_AGREED = 3  # what an agreement carries: three integers of each worker


@dataclass(frozen=True)
class RunContext:
    """All that the loop works with, made by ``worker``."""

    spec: RunSpec
    topology: Topology
    observer: Observer
    store: ObjectStore
    schedule: Schedule
    agree: Agreement
    resume: Resume
    networks: Networks
    exporter: snapshot.Exporter
    saving: Saving
    call: Call


class Loop:
    """Runs from the checkpoint it resumed from, or the start. Keeps what the next report needs: losses, times and the last checkpoint."""

    def __init__(self, session: RunContext, resumed: Manifest | None):
        self._session = session
        self._step = resumed.step if resumed else 0
        logs.at_step(self._step)
        self._committed_step = resumed.step if resumed else None
        self._metrics = {
            name: resumed.metrics.get(name, 0.0) if resumed else 0.0 for name in METRICS
        }
        self._reported_at = time.monotonic()
        self._rate = 0.0
        self._agreeing_seconds = 0.0  # since the last call

    def run(self, images: Input) -> bool:
        """Train until the schedule's last step, or until asked to stop; whether it came to the end. Returns when the last step is saved.

        ``Diverged`` at a loss that is not finite.
        """
        session, start = self._session, self._step
        if start == 0:
            self._sample()
        self._report("compile")
        waiting_since = self._reported_at = time.monotonic()
        for (first_step, num_steps), chunk in zip(
            session.schedule.calls(start), images, strict=True
        ):
            called_at = time.monotonic()
            metrics, measures = (
                values.numpy() for values in session.call(chunk, tf.constant(first_step, tf.int64))
            )
            self._check_finite(metrics, measures, first_step)
            compute_seconds = float(measures[:, MEASURES.index("compute_seconds")].sum())
            seconds = time.monotonic() - waiting_since + self._agreeing_seconds
            times = _Times(num_steps, seconds, called_at - waiting_since, compute_seconds)
            self._agreeing_seconds = 0.0
            self._step = first_step + num_steps
            logs.at_step(self._step)
            self._metrics = dict(zip(METRICS, metrics.mean(axis=0).tolist(), strict=True))
            self._report("train", times)
            if first_step == start:
                log.info(
                    "first call done",
                    extra={"fields": {"step": self._step, "seconds": round(times.seconds, 3)}},
                )
                session.resume.mark_succeeded()
                session.observer.first_images(chunk[:, 0].numpy().reshape(-1, *chunk.shape[3:]))
            is_asked_to_stop = self._at_a_stop()
            session.observer.enter("train")
            if is_asked_to_stop:
                session.observer.enter("checkpoint")
                session.saving.finish(session.networks, self._step, self._metrics, "preemption")
                return self._step == session.schedule.total_steps
            waiting_since = time.monotonic()
        session.observer.enter("checkpoint")
        session.saving.finish(session.networks, self._step, self._metrics, "end")
        return True

    def _at_a_stop(self) -> bool:
        """Between two calls: grid, checkpoint, and the agreement; whether to stop now, the same on every worker."""
        session, schedule = self._session, self._session.schedule
        if schedule.samples_at(self._step):
            self._sample()
        if schedule.checkpoints_at(self._step):
            reason: SaveReason = "end" if self._step == schedule.total_steps else "schedule"
            session.observer.enter("checkpoint")
            session.saving.save(session.networks, self._step, self._metrics, reason)
        asked_at = time.monotonic()
        wanted = session.observer.wanted()
        self._agreeing_seconds += time.monotonic() - asked_at
        if wanted.save:
            session.saving.save_if_idle(session.networks, self._step, self._metrics)
        bad_weights: DivergedError | None = None
        try:
            session.saving.look()
        except DivergedError as error:
            bad_weights = error
        session.observer.enter(
            "train"
        )  # the agreement waits for the other workers, and not for a save
        mine = [int(wanted.stop), session.saving.committed_step or 0, int(bad_weights is not None)]
        asked_at = time.monotonic()
        num_stops, committed, num_bad = session.agree(mine)
        self._agreeing_seconds += time.monotonic() - asked_at
        if num_bad:
            raise bad_weights or DivergedError(
                f"step {self._step}: a weight is not finite; expected finite weights"
            )
        if committed and committed != self._committed_step:
            self._committed_step = committed
            self._report("checkpoint")
        return num_stops > 0

    def _check_finite(self, metrics: np.ndarray, measures: np.ndarray, first_step: int) -> None:
        row = first_bad(metrics)
        if row is None:
            return
        # The same numbers on every worker, so all of them are here.
        self._session.observer.not_finite()
        rank, is_mine = self._session.topology.rank, not np.isfinite(measures[row]).all()
        found, *_ = self._session.agree([1 << rank if is_mine and rank < MAX_RANKS else 0, 0, 0])
        ranks = tuple(rank for rank in range(MAX_RANKS) if found >> rank & 1)
        self._session.observer.enter(
            "start"
        )  # the others wait while the chief settles, and writes the diagnosis
        committed = self._session.saving.settle()  # what was saved before this is good
        raise Diverged(
            Divergence(first_step, row, metrics, ranks), committed or self._committed_step
        )

    def _sample(self) -> None:
        """The grid of this step. The moving statistics were averaged at the end of the call, so the chief's are everyone's."""
        session = self._session
        if session.topology.is_chief:
            session.observer.enter("sample")
            images = save_grid(
                session.spec,
                session.store,
                session.exporter.load(snapshot.shown_weights(session.networks)),
                self._step,
            )
            session.observer.sampled(self._step, images)

    def _report(self, phase: Phase, times: "_Times | None" = None) -> None:
        session, batch, now = (
            self._session,
            self._session.spec.training.global_batch_size,
            time.monotonic(),
        )
        times = times or _Times(0, 0.0, 0.0, 0.0)
        if times.num_steps:
            self._rate = times.num_steps * batch / (now - self._reported_at)
            self._reported_at = now
        progress = StepReport(
            step=self._step,
            total_steps=session.schedule.total_steps,
            epoch=self._step / session.schedule.steps_per_epoch,
            images=self._step * batch,
            images_per_second=self._rate,
            **self._metrics,
            step_seconds=times.seconds / max(times.num_steps, 1),
            data_wait_seconds=times.wait_seconds / max(times.num_steps, 1),
            compute_seconds=times.compute_seconds / max(times.num_steps, 1),
            sync_seconds=times.sync_seconds / max(times.num_steps, 1),
            checkpoint_step=self._committed_step,
            phase=phase,
            world_size=session.topology.world_size,
            restarts=session.topology.restarts,
            rank=session.topology.rank,
        )
        session.observer.progress(progress, times.num_steps)


class _Times(NamedTuple):
    """Of the last call: its steps, its seconds in all, and those of them spent waiting for images and computing gradients.

    The agreement after the call before counts too: there, as inside a call, a worker waits for the slowest.
    """

    num_steps: int
    seconds: float
    wait_seconds: float
    compute_seconds: float

    @property
    def sync_seconds(self) -> float:
        """What is left: gradients exchanged and applied. Two clocks measure, so a few microseconds below 0 are none."""
        return max(0.0, self.seconds - self.wait_seconds - self.compute_seconds)
