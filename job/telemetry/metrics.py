"""The Prometheus instruments of one worker.

Knows no server and no tensor: it is fed with ``StepReport``. Names and meanings are those of ``docs/metrics.md``; a test compares the two.
Every series carries the labels ``run`` and ``rank``. Counters and histograms begin at 0 with the process, so that ``rate()`` sees the first
event; gauges of training appear with the first report, because a loss of 0 that nobody computed would be a lie.
"""

import time
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from job.telemetry.checkpoint_metrics import CheckpointMetrics
from job.telemetry.phase_metrics import PhaseMetrics
from job.telemetry.step_report import Phase, StepReport, seconds_left

LABELS = ("run", "rank")
STEP_BUCKETS_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
)
# Why a run saves before its time: Ray says that a node will go; whoever started the run asks it to stop.
Preemption = Literal["node", "stop"]
PREEMPTIONS: tuple[Preemption, ...] = get_args(Preemption)

# A `_created` series beside every counter and histogram would be stored for ever and Prometheus makes no use of it.
disable_created_metrics()


class WorkerMetrics:
    """What Prometheus can know about one worker of ``run``, in ``registry`` (its own unless given); ``checkpoints`` are those of its saves.

    ``clock`` is in seconds and only has to be monotonic. ``save_reasons`` are those for which a request of a save may fail.
    """

    def __init__(
        self,
        run: str,
        rank: int,
        registry: CollectorRegistry | None = None,
        *,
        save_reasons: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry or CollectorRegistry()
        self._labels = {"run": run, "rank": str(rank)}
        self._num_reports = 0
        self._declare_course()
        self._declare_health()
        self._declare_speed()
        self._declare_life()
        self._phases = PhaseMetrics(self._labels, self.registry, clock)
        self.checkpoints = CheckpointMetrics(self._labels, self.registry, save_reasons, clock)
        ProcessCollector(registry=self.registry)

    def build_info(self, version: str, preset: str, data_fingerprint: str) -> None:
        """Say what runs: the series ``dcgan_build_info{version, preset, data_fingerprint}``."""
        self._build.labels(**self._labels).info(
            {"version": version, "preset": preset, "data_fingerprint": data_fingerprint}
        )

    def world(self, size: int, target_size: int, restarts: int) -> None:
        """How many workers there are, how many are wanted, and how often they were started again. Told at the start: one may never report."""
        self._set(self._world_size, size)
        self._set(self._target_world_size, target_size)
        self._count_up_to(self._restarts, restarts)

    def enter(self, phase: Phase) -> None:
        """From now on this worker is in ``phase``."""
        self._phases.enter(phase)

    def observe(self, progress: StepReport, num_steps: int) -> None:
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
            self._set(gauge, value)
        if (left := seconds_left(progress)) is not None:
            self._set(self._remaining_seconds, left)
        if num_steps:
            self._count_steps(progress, num_steps)
        self._count_up_to(self._restarts, progress.restarts)
        if progress.checkpoint_step is not None:
            self.checkpoints.seen(progress.checkpoint_step, fresh=self._num_reports > 0)
        self._num_reports += 1

    def not_finite(self) -> None:
        """A number of the last call was NaN or infinite."""
        self._non_finite.inc()

    def rolled_back(self) -> None:
        """The run went back to a checkpoint, because of numbers that are not finite."""
        self._rollbacks.inc()

    def preempted(self, reason: Preemption) -> None:
        """The run has to save now and may soon end."""
        self._preemptions[reason].inc()

    def hung(self, num_hangs: int) -> None:
        """``num_hangs`` hangs have been written down in the run folder by now."""
        self._count_up_to(self._hangs, num_hangs)

    def sampled(self, diversity: float) -> None:
        """How much the images of the newest grid differ (``job.images.diversity``)."""
        self._set(self._sample_diversity, diversity)

    def data_diversity(self, diversity: float) -> None:
        """How much images of the data set differ: what that of the samples is to be compared with."""
        self._set(self._data_diversity, diversity)

    def _count_steps(self, progress: StepReport, num_steps: int) -> None:
        self._steps.inc(num_steps)
        self._images.inc(num_steps * progress.images / progress.step)
        self._data_wait_seconds.inc(num_steps * progress.data_wait_seconds)
        self._compute_seconds.inc(num_steps * progress.compute_seconds)
        self._sync_seconds.inc(num_steps * progress.sync_seconds)
        for _ in range(num_steps):
            self._step_seconds.observe(progress.step_seconds)

    def _set(self, gauge: Gauge, value: float) -> None:
        gauge.labels(**self._labels).set(value)

    def _count_up_to(self, counter: Counter, number: int) -> None:
        """A count of the whole run, not of this process: absent until it is known, for 0 and then 2 would be read as two more events."""
        series = counter.labels(**self._labels)
        series.inc(max(0, number - self._counted.get(counter, 0)))
        self._counted[counter] = max(self._counted.get(counter, 0), number)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(name, meaning, LABELS, registry=self.registry)

    def _counter(self, name: str, meaning: str) -> Counter:
        """One that is there from the start, at 0."""
        return Counter(name, meaning, LABELS, registry=self.registry).labels(**self._labels)

    def _declare_course(self) -> None:
        self._step = self._gauge("dcgan_step", "Steps done since the run began, over all restarts.")
        self._target_steps = self._gauge("dcgan_target_steps", "Steps after which the run is done.")
        self._epoch = self._gauge(
            "dcgan_epoch", "Passes over the data set done, with the fraction of the current one."
        )
        self._remaining_seconds = self._gauge(
            "dcgan_remaining_seconds", "Time to the last step at the present speed."
        )
        self._steps = self._counter("dcgan_steps_total", "Steps done by this process.")
        self._images = self._counter(
            "dcgan_images_total", "Real images seen by all workers together while this process ran."
        )

    def _declare_health(self) -> None:
        self._discriminator_loss = self._gauge(
            "dcgan_discriminator_loss", "Loss of the discriminator, mean since the last report."
        )
        self._generator_loss = self._gauge(
            "dcgan_generator_loss", "Loss of the generator, mean since the last report."
        )
        self._real_probability = self._gauge(
            "dcgan_real_probability",
            "Mean D(x): probability the discriminator gives real images of being real.",
        )
        self._fake_probability = self._gauge(
            "dcgan_fake_probability",
            "Mean D(G(z)): probability it gives generated images of being real.",
        )
        self._discriminator_gradient_norm = self._gauge(
            "dcgan_discriminator_gradient_norm",
            "Norm of the discriminator's gradient, summed over replicas, mean since the last report.",
        )
        self._generator_gradient_norm = self._gauge(
            "dcgan_generator_gradient_norm",
            "Norm of the generator's gradient, summed over replicas, mean since the last report.",
        )
        self._sample_diversity = self._gauge(
            "dcgan_sample_diversity",
            "Standard deviation of a pixel over the images of the newest grid, mean over all pixels.",
        )
        self._data_diversity = self._gauge(
            "dcgan_data_diversity",
            "The same over real images: those of the first step of this process.",
        )
        self._non_finite = self._counter(
            "dcgan_non_finite_total", "Calls with a loss or a norm that was NaN or infinite."
        )
        self._rollbacks = self._counter(
            "dcgan_rollbacks_total",
            "Times this process went back to a checkpoint after a number that was not finite.",
        )

    def _declare_speed(self) -> None:
        self._images_per_second = self._gauge(
            "dcgan_images_per_second", "Real images per second of all workers together."
        )
        self._step_seconds = Histogram(
            "dcgan_step_seconds",
            "Time of one step, waiting for images and for other workers included.",
            LABELS,
            buckets=STEP_BUCKETS_SECONDS,
            registry=self.registry,
        ).labels(**self._labels)
        self._data_wait_seconds = self._counter(
            "dcgan_data_wait_seconds_total", "Time this worker waited for images."
        )
        self._compute_seconds = self._counter(
            "dcgan_compute_seconds_total",
            "Time this worker computed gradients; the one with the most keeps the others waiting. Not measured on GPUs: 0.",
        )
        self._sync_seconds = self._counter(
            "dcgan_sync_seconds_total",
            "Rest of the time of steps: exchanging gradients, waiting for the slowest worker, applying them; on GPUs computing them too.",
        )

    def _declare_life(self) -> None:
        self._counted: dict[Counter, int] = {}
        self._world_size = self._gauge("dcgan_world_size", "Workers that train together now.")
        self._target_world_size = self._gauge(
            "dcgan_target_world_size", "Workers that the run is configured to use."
        )
        self._restarts = Counter(
            "dcgan_restarts_total",
            "Times the worker group was started again by this start of the program.",
            LABELS,
            registry=self.registry,
        )
        self._hangs = Counter(
            "dcgan_hangs_total",
            "Times the watchdog ended a worker of this run that hung.",
            LABELS,
            registry=self.registry,
        )
        preemptions = Counter(
            "dcgan_preemptions_total",
            "Times this process was asked to save before its time.",
            (*LABELS, "reason"),
            registry=self.registry,
        )
        self._preemptions = {
            reason: preemptions.labels(**self._labels, reason=reason) for reason in PREEMPTIONS
        }
        self._build = Info(
            "dcgan_build",
            "Always 1; what runs: the version of dcgan-train, its preset and its data set.",
            LABELS,
            registry=self.registry,
        )
