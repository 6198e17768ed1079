"""The Prometheus metrics of one worker, fed by its ``StepReport``s and events.

docs/metrics.md lists names and meanings; a test compares the two. Gauges of training appear with
the first report: a loss of 0 that nobody computed would mislead.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Info, ProcessCollector

from job.telemetry.checkpoint_metrics import CheckpointMetrics
from job.telemetry.instruments import LABELS, Instruments
from job.telemetry.phase_metrics import PhaseMetrics
from job.telemetry.step_report import StepReport, seconds_left

STEP_BUCKETS_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60),
)
# Why a run saves early: Ray announces the loss of a node, or the user stops the run.
Preemption = Literal["node", "stop"]
PREEMPTIONS: tuple[Preemption, ...] = get_args(Preemption)

# Field of StepReport: metric and meaning.
REPORTED = {
    "step": ("dcgan_step", "Steps done since the run began, over all restarts."),
    "total_steps": ("dcgan_target_steps", "Steps after which the run is done."),
    "epoch": (
        "dcgan_epoch",
        "Passes over the data set done, with the fraction of the current one.",
    ),
    "images_per_second": (
        "dcgan_images_per_second",
        "Real images per second of all workers together.",
    ),
    "discriminator_loss": (
        "dcgan_discriminator_loss",
        "Loss of the discriminator, mean since the last report.",
    ),
    "generator_loss": (
        "dcgan_generator_loss",
        "Loss of the generator, mean since the last report.",
    ),
    "real_probability": (
        "dcgan_real_probability",
        "Mean D(x): probability the discriminator gives real images of being real.",
    ),
    "fake_probability": (
        "dcgan_fake_probability",
        "Mean D(G(z)): probability it gives generated images of being real.",
    ),
    "discriminator_accuracy": (
        "dcgan_discriminator_accuracy",
        "Share of pairs of a real and a generated image that the discriminator orders rightly.",
    ),
    "discriminator_gradient_norm": (
        "dcgan_discriminator_gradient_norm",
        "Norm of the discriminator's gradient, summed over replicas, mean since the last report.",
    ),
    "generator_gradient_norm": (
        "dcgan_generator_gradient_norm",
        "Norm of the generator's gradient, summed over replicas, mean since the last report.",
    ),
    "world_size": ("dcgan_world_size", "Workers that train together now."),
}
# Field of StepReport with a mean time per step: counter of the sum and its meaning.
TIMED = {
    "data_wait_seconds": (
        "dcgan_data_wait_seconds_total",
        "Time this worker waited for images.",
    ),
    "compute_seconds": (
        "dcgan_compute_seconds_total",
        "Time this worker computed gradients; the slowest worker delays the others."
        " Not measured on GPUs: 0.",
    ),
    "sync_seconds": (
        "dcgan_sync_seconds_total",
        "Rest of the step time: exchanging gradients, waiting for the slowest worker,"
        " applying them; on GPUs also computing them.",
    ),
}
# Score: metric and meaning. Only the chief has them, in runs with scores.
SCORES = {
    "frechet_distance": (
        "dcgan_quality_frechet_distance",
        "Frechet distance of generated images to real ones; 0 is best.",
    ),
    "best_frechet_distance": (
        "dcgan_quality_best_frechet_distance",
        "Smallest Frechet distance of a checkpoint of this run, with the same features.",
    ),
    "kernel_distance": (
        "dcgan_quality_kernel_distance",
        "Kernel distance (KID) of generated images to real ones; 0 is best.",
    ),
    "kernel_error": ("dcgan_quality_kernel_error", "Standard error of the kernel distance."),
    "precision": (
        "dcgan_quality_precision",
        "Share of generated images that are like real ones.",
    ),
    "recall": ("dcgan_quality_recall", "Share of real images that are like generated ones."),
    "density": (
        "dcgan_quality_density",
        "Real images that a generated one is like, over the expected number; 1 is best.",
    ),
    "coverage": (
        "dcgan_quality_coverage",
        "Share of real images with a generated one nearby.",
    ),
}


class WorkerMetrics:
    """The metrics of rank ``rank`` of ``run``, in ``registry`` or a new one.

    ``save_reasons`` are the reasons for which a save may fail. ``clock`` is monotonic, in seconds.
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
        self._num_reports = 0
        self._declare(Instruments(run, rank, self.registry), save_reasons, clock)
        ProcessCollector(registry=self.registry)

    def _declare(
        self, new: Instruments, save_reasons: Sequence[str], clock: Callable[[], float]
    ) -> None:
        self._labels = new.labels
        self.enter = PhaseMetrics(new, clock).enter
        self.checkpoints = CheckpointMetrics(new, save_reasons, clock)
        self._reported = {field: new.setter(*metric) for field, metric in REPORTED.items()}
        self._timed = {field: new.counter(*metric) for field, metric in TIMED.items()}
        self._remaining_seconds = new.setter(
            "dcgan_remaining_seconds", "Time to the last step at the present speed."
        )
        self._target_world_size = new.setter(
            "dcgan_target_world_size", "Workers that the run is configured to use."
        )
        self.sampled = new.setter(
            "dcgan_sample_diversity",
            "Standard deviation of a pixel over the images of the newest grid, mean of all pixels;"
            " with model.conditional over those of a class.",
        )
        self.data_diversity = new.setter(
            "dcgan_data_diversity",
            "The same over real images: at most 256 of the first call of this process.",
        )
        self.goodput = new.setter(
            "dcgan_goodput_ratio",
            "Share of the run's time, over all attempts, that was spent in steps that count."
            " Only the chief has it.",
        )
        self._scores = {name: new.setter(*metric) for name, metric in SCORES.items()}
        self._steps = new.counter("dcgan_steps_total", "Steps done by this process.")
        self._images = new.counter(
            "dcgan_images_total", "Real images seen by all workers together while this process ran."
        )
        self._step_seconds = new.histogram(
            "dcgan_step_seconds",
            "Time of one step, including waiting for images and for other workers.",
            STEP_BUCKETS_SECONDS,
        )
        self.not_finite = new.counter(
            "dcgan_non_finite_total", "Calls with a loss or a norm that was NaN or infinite."
        ).inc
        self.rolled_back = new.counter(
            "dcgan_rollbacks_total",
            "Times this process rolled back: after a number that was not finite, or worse images.",
        ).inc
        self._preemptions = new.counters(
            "dcgan_preemptions_total",
            "Times this process was asked to save early.",
            "reason",
            PREEMPTIONS,
        )
        self._restarts = new.total(
            "dcgan_restarts_total",
            "Times the worker group was restarted in this attempt of the program.",
        )
        self.hung = new.total(
            "dcgan_hangs_total", "Times the watchdog ended a worker of this run that hung."
        )
        self._build = Info(
            "dcgan_build",
            "Always 1; the version of dcgan-train, the preset and the data set of the run.",
            LABELS,
            registry=self.registry,
        )

    def build_info(self, version: str, preset: str, data_fingerprint: str) -> None:
        """Set ``dcgan_build_info{version, preset, data_fingerprint}``."""
        self._build.labels(**self._labels).info(
            {"version": version, "preset": preset, "data_fingerprint": data_fingerprint}
        )

    def world(self, size: int, target_size: int, restarts: int) -> None:
        """Set worker counts and restarts at the start: a worker may end before it reports."""
        self._reported["world_size"](size)
        self._target_world_size(target_size)
        self._restarts(restarts)

    def observe(self, report: StepReport, num_steps: int) -> None:
        """Record a report over the last ``num_steps`` steps; with 0 only the gauges move."""
        for field, set_gauge in self._reported.items():
            set_gauge(getattr(report, field))
        if (left := seconds_left(report)) is not None:
            self._remaining_seconds(left)
        if num_steps:
            self._steps.inc(num_steps)
            self._images.inc(num_steps * report.images / report.step)
            for field, counter in self._timed.items():
                counter.inc(num_steps * getattr(report, field))
            for _ in range(num_steps):
                self._step_seconds.observe(report.step_seconds)
        self._restarts(report.restarts)
        if report.checkpoint_step is not None:
            self.checkpoints.seen(report.checkpoint_step, fresh=self._num_reports > 0)
        self._num_reports += 1

    def scored(self, scores: Mapping[str, float]) -> None:
        """Set the scores of the generated images."""
        for name, value in scores.items():
            self._scores[name](value)

    def preempted(self, reason: Preemption) -> None:
        """Count a request to save early."""
        self._preemptions[reason].inc()
