"""The Prometheus instruments of one worker.

Knows no server and no tensor: it is fed with ``Progress``. Names and meanings are those of ``docs/metrics.md``; a test compares the two.
Every series carries the labels ``run`` and ``rank``. Counters and histograms begin at 0 with the process, so that ``rate()`` sees the first
event; gauges of training appear with the first report, because a loss of 0 that nobody computed would be a lie.
"""

import math
import time
from collections.abc import Callable
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, disable_created_metrics

from job.telemetry.report import Progress

Outcome = Literal["committed", "skipped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
LABELS = ("run", "rank")
STEP_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CHECKPOINT_BUCKETS_SECONDS = (0.01, 0.03, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# A `_created` series beside every counter and histogram would be stored for ever and Prometheus makes no use of it.
disable_created_metrics()


class WorkerMetrics:
    """What Prometheus can know about one worker of ``run``, in ``registry`` (its own unless given).

    ``clock`` is in seconds and only has to be monotonic; the age of the last checkpoint is computed with it at each scrape.
    """

    def __init__(
        self, run: str, rank: int, registry: CollectorRegistry | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._labels = (run, str(rank))
        self._clock = clock
        self._saved_at = clock()
        self._saved_step: int | None = None
        self._num_reports = 0
        self._num_restarts = 0
        self._declare_training()
        self._declare_checkpoints()
        self._build = Info(
            "dcgan_build", "Always 1; what runs: the version of dcgan-train, its preset and its data set.", LABELS, registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def build_info(self, version: str, preset: str, data_fingerprint: str) -> None:
        """Say what runs: the series ``dcgan_build_info{version, preset, data_fingerprint}``."""
        self._build.labels(*self._labels).info({"version": version, "preset": preset, "data_fingerprint": data_fingerprint})

    def observe(self, progress: Progress, num_steps: int) -> None:
        """Take in a report over the ``num_steps`` steps since the one before (0: only the gauges move)."""
        for gauge, value in (
            (self._step, progress.step),
            (self._target_steps, progress.total_steps),
            (self._epoch, progress.epoch),
            (self._images_per_second, progress.images_per_second),
            (self._discriminator_loss, progress.discriminator_loss),
            (self._generator_loss, progress.generator_loss),
            (self._real_probability, progress.real_probability),
            (self._fake_probability, progress.fake_probability),
            (self._discriminator_gradient_norm, progress.discriminator_gradient_norm),
            (self._generator_gradient_norm, progress.generator_gradient_norm),
            (self._world_size, progress.world_size),
        ):
            gauge.labels(*self._labels).set(value)
        if num_steps:
            self._count_steps(progress, num_steps)
        # Absent before the first report: a restarted worker that showed 0 first would make `increase()` count every earlier restart again.
        self._restarts.labels(*self._labels).inc(max(0, progress.restarts - self._num_restarts))
        self._num_restarts = max(self._num_restarts, progress.restarts)
        if progress.checkpoint_step is not None and progress.checkpoint_step != self._saved_step:
            # A step in the first report is the one this process resumed from: its age counts from the start, not from now.
            self._set_saved(progress.checkpoint_step, fresh=self._num_reports > 0)
        self._num_reports += 1

    def checkpoint(self, step: int, seconds: float, outcome: Outcome, num_bytes: int = 0) -> None:
        """Count a checkpoint of ``step`` that took ``seconds``; only one that was committed counts as the last and into the durations.

        Outcome ``failed`` is that of one try to save: it is tried again.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome is {outcome!r}; expected one of {', '.join(OUTCOMES)}")
        self._checkpoints.labels(*self._labels, outcome).inc()
        if outcome == "committed":
            self._checkpoint_seconds.labels(*self._labels).observe(seconds)
            self._checkpoint_bytes.labels(*self._labels).inc(num_bytes)
            self._set_saved(step, fresh=True)

    def checkpoint_held(self, seconds: float) -> None:
        """How long a checkpoint kept the training thread from training."""
        self._checkpoint_held.labels(*self._labels).observe(seconds)

    def rolled_back(self) -> None:
        """The run went back to a checkpoint, because of numbers that are not finite."""
        self._rollbacks.labels(*self._labels).inc()

    def _count_steps(self, progress: Progress, num_steps: int) -> None:
        self._steps.labels(*self._labels).inc(num_steps)
        self._images.labels(*self._labels).inc(num_steps * progress.images / progress.step)
        self._data_wait_seconds.labels(*self._labels).inc(num_steps * progress.data_wait_seconds)
        self._compute_seconds.labels(*self._labels).inc(num_steps * progress.compute_seconds)
        step_seconds = self._step_seconds.labels(*self._labels)
        for _ in range(num_steps):
            step_seconds.observe(progress.step_seconds)
        if not (math.isfinite(progress.discriminator_loss) and math.isfinite(progress.generator_loss)):
            self._non_finite.labels(*self._labels).inc()

    def _set_saved(self, step: int, fresh: bool) -> None:
        self._saved_step = step
        self._checkpoint_last_step.labels(*self._labels).set(step)
        if fresh:
            self._saved_at = self._clock()

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, LABELS, registry=self.registry)

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(name, meaning, LABELS, registry=self.registry)

    def _declare_training(self) -> None:
        self._step = self._gauge("dcgan_step", "Steps done since the run began, over all restarts.")
        self._target_steps = self._gauge("dcgan_target_steps", "Steps after which the run is done.")
        self._epoch = self._gauge("dcgan_epoch", "Passes over the data set done, with the fraction of the current one.")
        self._images_per_second = self._gauge("dcgan_images_per_second", "Real images per second of all workers together.")
        self._discriminator_loss = self._gauge("dcgan_discriminator_loss", "Loss of the discriminator, mean since the last report.")
        self._generator_loss = self._gauge("dcgan_generator_loss", "Loss of the generator, mean since the last report.")
        self._real_probability = self._gauge(
            "dcgan_real_probability", "Mean D(x): probability the discriminator gives real images of being real."
        )
        self._fake_probability = self._gauge("dcgan_fake_probability", "Mean D(G(z)): probability it gives generated images of being real.")
        self._discriminator_gradient_norm = self._gauge(
            "dcgan_discriminator_gradient_norm", "Norm of the discriminator's gradient, summed over replicas, mean since the last report."
        )
        self._generator_gradient_norm = self._gauge(
            "dcgan_generator_gradient_norm", "Norm of the generator's gradient, summed over replicas, mean since the last report."
        )
        self._world_size = self._gauge("dcgan_world_size", "Workers that train together now.")
        self._steps = self._counter("dcgan_steps_total", "Steps done by this process.")
        self._images = self._counter("dcgan_images_total", "Real images seen by all workers together while this process ran.")
        self._data_wait_seconds = self._counter("dcgan_data_wait_seconds_total", "Time this worker waited for images.")
        self._compute_seconds = self._counter(
            "dcgan_compute_seconds_total", "Time this worker computed gradients; the one with the most keeps the others waiting."
        )
        self._restarts = self._counter("dcgan_restarts_total", "Times the worker group was started again since the run began.")
        self._rollbacks = self._counter(
            "dcgan_rollbacks_total", "Times this process went back to a checkpoint after a number that was not finite."
        )
        self._non_finite = self._counter("dcgan_non_finite_total", "Reports with a loss that was NaN or infinite.")
        self._step_seconds = Histogram(
            "dcgan_step_seconds",
            "Time of one step, waiting for images included.",
            LABELS,
            buckets=STEP_BUCKETS_SECONDS,
            registry=self.registry,
        )
        for instrument in (
            self._steps,
            self._images,
            self._data_wait_seconds,
            self._compute_seconds,
            self._rollbacks,
            self._non_finite,
            self._step_seconds,
        ):
            instrument.labels(*self._labels)

    def _declare_checkpoints(self) -> None:
        self._checkpoints = Counter(
            "dcgan_checkpoints_total",
            "Checkpoints by how they ended; a failed try is repeated. Only the first worker saves.",
            (*LABELS, "outcome"),
            registry=self.registry,
        )
        self._checkpoint_seconds = Histogram(
            "dcgan_checkpoint_seconds",
            "Time of a committed checkpoint, from snapshot to manifest.",
            LABELS,
            buckets=CHECKPOINT_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._checkpoint_held = Histogram(
            "dcgan_checkpoint_held_seconds",
            "Time for which a checkpoint kept the training thread.",
            LABELS,
            buckets=CHECKPOINT_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._checkpoint_bytes = self._counter("dcgan_checkpoint_bytes_total", "Bytes of committed checkpoints.")
        self._checkpoint_last_step = self._gauge(
            "dcgan_checkpoint_last_step", "Step of the last committed checkpoint: where a restart begins; 0 before the first."
        )
        age = self._gauge(
            "dcgan_checkpoint_age_seconds", "Time since this worker saw a checkpoint committed; since its start before the first."
        )
        age.labels(*self._labels).set_function(lambda: self._clock() - self._saved_at)
        for outcome in OUTCOMES:
            self._checkpoints.labels(*self._labels, outcome)
        for instrument in (self._checkpoint_seconds, self._checkpoint_held, self._checkpoint_bytes, self._checkpoint_last_step):
            instrument.labels(*self._labels)
