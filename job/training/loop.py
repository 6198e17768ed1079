"""The training loop of one worker: step, check, report, sample, save, agree.

Every worker runs the same loop over the same steps. Only the chief writes, and only between
collective operations. After each train call the workers agree whether to stop, which step is
committed, and whether the chief found bad weights.
"""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from job.checkpoints.manifest import Manifest, SaveReason
from job.config.errors import DivergedError
from job.gan.networks import Networks
from job.gan.step import MEASURES, METRICS
from job.telemetry import logs
from job.telemetry.step_report import Phase, StepReport
from job.training import snapshot
from job.training.checkpointer import Checkpointer
from job.training.context import RunContext
from job.training.divergence import MAX_RANKS, Diverged, Divergence, first_bad
from job.training.input import Input
from job.training.multi_step import TrainCall
from job.training.samples import save_grid

log = logging.getLogger("dcgan.training")


class _Times(NamedTuple):
    """Seconds of the last train call, in all, waiting for images, and computing gradients.

    The agreement before it is included: as inside a call, workers wait there for the slowest.
    """

    num_steps: int
    seconds: float
    data_wait_seconds: float
    compute_seconds: float

    @property
    def sync_seconds(self) -> float:
        """The rest, for exchanging and applying gradients; two clocks may differ by a few us."""
        return max(0.0, self.seconds - self.data_wait_seconds - self.compute_seconds)


NO_TIMES = _Times(0, 0.0, 0.0, 0.0)


class Loop:
    """Trains from ``resumed``, or from step 0. Keeps what the next report needs."""

    def __init__(
        self,
        context: RunContext,
        networks: Networks,
        train_call: TrainCall,
        checkpointer: Checkpointer,
        resumed: Manifest | None,
        on_first_call: Callable[[], None],
    ):
        self._context, self._networks, self._train_call = context, networks, train_call
        self._checkpointer, self._on_first_call = checkpointer, on_first_call
        self._exporter = snapshot.Exporter(context.spec)
        self._step = resumed.step if resumed else 0
        logs.at_step(self._step)
        self._committed_step = resumed.step if resumed else None
        saved_metrics = resumed.metrics if resumed else {}
        self._metrics = {name: saved_metrics.get(name, 0.0) for name in METRICS}
        self._images_per_second = 0.0
        self._reported_at = time.monotonic()
        self._agreeing_seconds = 0.0  # since the last call

    def run(self, images: Input) -> bool:
        """Train to the last step, or until asked to stop, and save that step.

        Returns whether the last step was reached. Raises ``Diverged`` at a loss that is not finite.
        """
        schedule, start, is_stopped = self._context.schedule, self._step, False
        if start == 0:
            self._save_grid()
        self._report("compile")
        waiting_since = self._reported_at = time.monotonic()
        for (first_step, num_steps), chunk in zip(schedule.calls(start), images, strict=True):
            called_at = time.monotonic()
            outputs = self._train_call(chunk, tf.constant(first_step, tf.int64))
            metrics, measures = (values.numpy() for values in outputs)
            self._check_finite(metrics, measures, first_step)
            self._step = first_step + num_steps
            logs.at_step(self._step)
            self._metrics = dict(zip(METRICS, metrics.mean(axis=0).tolist(), strict=True))
            times = _Times(
                num_steps,
                time.monotonic() - waiting_since + self._agreeing_seconds,
                called_at - waiting_since,
                float(measures[:, MEASURES.index("compute_seconds")].sum()),
            )
            self._agreeing_seconds = 0.0
            self._report("train", times)
            if first_step == start:
                self._after_first_call(chunk, times.seconds)
            is_stopped = self._after_call()
            self._context.listeners.on_phase("train")
            if is_stopped:
                break
            waiting_since = time.monotonic()
        self._context.listeners.on_phase("checkpoint")
        reason: SaveReason = "preemption" if is_stopped else "end"
        self._checkpointer.finish(self._step, self._metrics, reason)
        return not is_stopped or self._step == schedule.total_steps

    def _check_finite(self, metrics: np.ndarray, measures: np.ndarray, first_step: int) -> None:
        """Raise ``Diverged`` if a metric is not finite. All workers have the same ``metrics``."""
        row = first_bad(metrics)
        if row is None:
            return
        context = self._context
        context.listeners.on_not_finite()
        rank, is_own = context.topology.rank, not np.isfinite(measures[row]).all()
        own_bit = 1 << rank if is_own and rank < MAX_RANKS else 0
        bits = context.collectives.sum_over_workers(bad_ranks=own_bit)["bad_ranks"]
        ranks = tuple(rank for rank in range(MAX_RANKS) if bits >> rank & 1)
        # The others wait while the chief finishes its save and writes the diagnosis.
        context.listeners.on_phase("start")
        committed = self._checkpointer.wait_for_save()  # what was saved before this is good
        divergence = Divergence(first_step, row, metrics, ranks)
        raise Diverged(divergence, committed or self._committed_step)

    def _report(self, phase: Phase, times: _Times = NO_TIMES) -> None:
        spec, schedule, topology = (
            self._context.spec,
            self._context.schedule,
            self._context.topology,
        )
        batch, now = spec.training.global_batch_size, time.monotonic()
        if times.num_steps:
            self._images_per_second = times.num_steps * batch / (now - self._reported_at)
            self._reported_at = now
        num_steps = max(times.num_steps, 1)
        report = StepReport(
            step=self._step,
            total_steps=schedule.total_steps,
            epoch=self._step / schedule.steps_per_epoch,
            images=self._step * batch,
            images_per_second=self._images_per_second,
            **self._metrics,
            step_seconds=times.seconds / num_steps,
            data_wait_seconds=times.data_wait_seconds / num_steps,
            compute_seconds=times.compute_seconds / num_steps,
            sync_seconds=times.sync_seconds / num_steps,
            checkpoint_step=self._committed_step,
            phase=phase,
            world_size=topology.world_size,
            restarts=topology.restarts,
            rank=topology.rank,
        )
        self._context.listeners.on_phase(phase)
        self._context.listeners.on_report(report, times.num_steps)

    def _after_first_call(self, chunk: tf.Tensor, seconds: float) -> None:
        fields = {"step": self._step, "seconds": round(seconds, 3)}
        log.info("first call done", extra={"fields": fields})
        self._on_first_call()
        first_step_images = chunk[:, 0].numpy().reshape(-1, *chunk.shape[3:])
        self._context.listeners.on_first_images(first_step_images)

    def _after_call(self) -> bool:
        """Sample and save if the schedule says so; return whether all workers stop now."""
        schedule, listeners = self._context.schedule, self._context.listeners
        if schedule.samples_at(self._step):
            self._save_grid()
        if schedule.checkpoints_at(self._step):
            reason: SaveReason = "end" if self._step == schedule.total_steps else "schedule"
            listeners.on_phase("checkpoint")
            self._checkpointer.save(self._step, self._metrics, reason)
        asked_at = time.monotonic()
        requests = self._context.driver.requests()
        listeners.on_requests(requests)
        self._agreeing_seconds += time.monotonic() - asked_at
        if requests.save:
            self._checkpointer.save_if_idle(self._step, self._metrics)
        return self._agree(stop=requests.stop)

    def _agree(self, *, stop: bool) -> bool:
        """Agree on what only some workers know; return whether all of them stop now."""
        bad_weights: DivergedError | None = None
        try:
            self._checkpointer.check_finished_saves()
        except DivergedError as error:
            bad_weights = error
        self._context.listeners.on_phase("train")  # this waits for workers, not for a save
        asked_at = time.monotonic()
        sums = self._context.collectives.sum_over_workers(
            stop_requests=int(stop),
            committed_step=self._checkpointer.committed_step or 0,  # 0 on all but the chief
            bad_weights=int(bad_weights is not None),
        )
        self._agreeing_seconds += time.monotonic() - asked_at
        if sums["bad_weights"]:
            raise bad_weights or DivergedError(
                f"step {self._step}: a weight is not finite; expected finite weights"
            )
        committed = sums["committed_step"]
        if committed and committed != self._committed_step:
            self._committed_step = committed
            self._report("checkpoint")
        return sums["stop_requests"] > 0

    def _save_grid(self) -> None:
        """Save the sample grid, on the chief: after each call all have the same statistics."""
        context = self._context
        if context.topology.is_chief:
            context.listeners.on_phase("sample")
            generator = self._exporter.load(snapshot.shown_weights(self._networks))
            images = save_grid(context.spec, context.store, generator, self._step)
            context.listeners.on_grid(self._step, images)
