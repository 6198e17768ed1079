"""The training loop of one worker: step, check, report, sample, score, save, agree.

Every worker runs the same loop over the same steps. Only the chief writes, and only between
collective operations. After each train call the workers agree whether to stop, which step is
committed, and whether the chief found bad weights.
"""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import keras
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
from job.training.divergence import MAX_RANKS, Diverged, Divergence, WorseImages, first_bad
from job.training.input import Input
from job.training.multi_step import TrainCall
from job.training.samples import save_grid
from job.training.scoring import Scorer

log = logging.getLogger("dcgan.training")


class _Times(NamedTuple):
    """Seconds of one train call: in all, waiting for images, and computing gradients.

    ``seconds`` includes the agreement before the call, where workers wait for the slowest, too.
    """

    num_steps: int
    seconds: float
    data_wait_seconds: float
    compute_seconds: float

    @property
    def sync_seconds(self) -> float:
        """The rest: exchanging and applying gradients. At least 0, as two clocks may differ."""
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
        scorer: Scorer | None = None,
    ):
        self._context, self._networks, self._train_call = context, networks, train_call
        self._checkpointer, self._on_first_call = checkpointer, on_first_call
        self._scorer = scorer
        self._exporter = snapshot.Exporter(context.spec, context.classes)
        self._step = resumed.step if resumed else 0
        logs.at_step(self._step)
        self._committed_step = resumed.step if resumed else None
        saved_metrics = resumed.metrics if resumed else {}
        self._metrics = {name: saved_metrics.get(name, 0.0) for name in METRICS}
        self._images_per_second = 0.0
        self._reported_at = time.monotonic()
        self._agreeing_seconds = 0.0  # since the last call
        self._is_stopped_early = False

    @property
    def step(self) -> int:
        """Return the steps done."""
        return self._step

    def run(self, images: Input) -> bool:
        """Train to the last step, or until asked to stop, and save that step.

        Returns whether the last step was reached. Raises ``Diverged`` at a loss that is not finite.
        """
        schedule, start, is_stopped = self._context.schedule, self._step, False
        if start == 0:
            self._save_grid()
        self._report("compile")
        waiting_since = self._reported_at = time.monotonic()
        for (first_step, num_steps), (chunk, *labels) in zip(
            schedule.calls(start), images, strict=True
        ):
            called_at = time.monotonic()
            outputs = self._train_call(chunk, tf.constant(first_step, tf.int64), *labels)
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
                self._after_first_call(times.seconds, chunk, *labels)
            is_stopped = self._after_call()
            self._context.listeners.on_phase("train")
            if is_stopped:
                break
            waiting_since = time.monotonic()
        self._context.listeners.on_phase("checkpoint")
        reason: SaveReason = "preemption" if is_stopped else "end"
        if self._is_stopped_early:
            reason = "end"
        self._checkpointer.finish(self._step, self._saved_metrics(), reason)
        return reason == "end" or self._step == schedule.total_steps

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
        self._diverge(Divergence(first_step, row, metrics, ranks))

    def _diverge(self, divergence: Divergence | WorseImages) -> NoReturn:
        """Raise ``Diverged``. All workers call it at the same step."""
        # The other workers wait until the chief has finished its save and written the diagnosis.
        self._context.listeners.on_phase("start")
        committed = self._checkpointer.wait_for_save()  # its weights are from before this call
        raise Diverged(divergence, committed or self._committed_step)

    def _report(self, phase: Phase, times: _Times = NO_TIMES) -> None:
        context, now = self._context, time.monotonic()
        batch = context.spec.training.global_batch_size
        if times.num_steps:
            self._images_per_second = times.num_steps * batch / (now - self._reported_at)
            self._reported_at = now
        num_steps = max(times.num_steps, 1)
        report = StepReport(
            step=self._step,
            total_steps=context.schedule.total_steps,
            epoch=self._step / context.schedule.steps_per_epoch,
            images=self._step * batch,
            images_per_second=self._images_per_second,
            **self._metrics,
            step_seconds=times.seconds / num_steps,
            data_wait_seconds=times.data_wait_seconds / num_steps,
            compute_seconds=times.compute_seconds / num_steps,
            sync_seconds=times.sync_seconds / num_steps,
            checkpoint_step=self._committed_step,
            phase=phase,
            world_size=context.topology.world_size,
            restarts=context.topology.restarts,
            rank=context.topology.rank,
        )
        context.listeners.on_phase(phase)
        context.listeners.on_report(report, times.num_steps)

    def _after_first_call(self, seconds: float, chunk: tf.Tensor, *labels: tf.Tensor) -> None:
        fields = {"step": self._step, "seconds": round(seconds, 3)}
        log.info("first call done", extra={"fields": fields})
        self._on_first_call()
        images = chunk.numpy().reshape(-1, *chunk.shape[3:])
        self._context.listeners.on_first_images(images, *(each.numpy().ravel() for each in labels))

    def _after_call(self) -> bool:
        """Sample, score and save if the schedule says so; return whether all workers stop now."""
        schedule, listeners = self._context.schedule, self._context.listeners
        if schedule.samples_at(self._step):
            self._save_grid()
        if self._scorer and schedule.scores_at(self._step):
            self._score(self._scorer)
        if schedule.checkpoints_at(self._step):
            reason: SaveReason = "end" if self._step == schedule.total_steps else "schedule"
            listeners.on_phase("checkpoint")
            self._checkpointer.save(self._step, self._saved_metrics(), reason)
        asked_at = time.monotonic()
        requests = self._context.driver.requests()
        listeners.on_requests(requests)
        self._agreeing_seconds += time.monotonic() - asked_at
        if requests.save:
            self._checkpointer.save_if_idle(self._step, self._saved_metrics())
        return self._agree(stop=requests.stop)

    def _score(self, scorer: Scorer) -> None:
        """Score the images. Raise ``Diverged`` if they are too bad, before that step is saved."""
        listeners, ratio = self._context.listeners, self._context.spec.quality.rollback_ratio
        listeners.on_phase("score")
        if scores := scorer.score(self._shown_generator(), self._step):
            listeners.on_scores(self._step, scores)
        if ratio is not None:
            is_worse = int(scorer.is_worse_than(ratio))
            if self._context.collectives.sum_over_workers(worse_images=is_worse)["worse_images"]:
                self._diverge(WorseImages(self._step, ratio, scorer.metrics(self._step)))

    def _agree(self, *, stop: bool) -> bool:
        """Sum over the workers what only some of them know; return whether all stop now."""
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
            early_stop=int(self._scorer is not None and self._scorer.is_over(self._step)),
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
        self._is_stopped_early = sums["early_stop"] > 0
        return self._is_stopped_early or sums["stop_requests"] > 0

    def _saved_metrics(self) -> dict[str, float]:
        return self._metrics | (self._scorer.metrics(self._step) if self._scorer else {})

    def _shown_generator(self) -> keras.Model:
        return self._exporter.load(snapshot.shown_weights(self._networks))

    def _save_grid(self) -> None:
        """Save the sample grid, on the chief: after each call all have the same statistics."""
        context = self._context
        if context.topology.is_chief:
            context.listeners.on_phase("sample")
            images = save_grid(
                context.spec,
                context.store,
                self._shown_generator(),
                self._step,
                len(context.classes),
            )
            context.listeners.on_grid(self._step, images)
