"""The Prometheus metrics of a worker's checkpoints: outcomes, times, and the age of the last one.

Only the chief saves; the others learn of commits from reports, so that each knows the age.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from job.telemetry.instruments import Instruments

Outcome = Literal["committed", "skipped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Stages in the upload thread: serialize the arrays, upload the parts, write the manifest.
Stage = Literal["pack", "upload", "commit"]
STAGES: tuple[Stage, ...] = get_args(Stage)
BUCKETS_SECONDS = (0.01, 0.03, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class CheckpointMetrics:
    """Checkpoints of one worker; ``reasons`` are the reasons for which a save may fail.

    The age is computed at each scrape with ``clock``, in seconds.
    """

    def __init__(
        self, new: Instruments, reasons: Sequence[str], clock: Callable[[], float]
    ) -> None:
        self._clock, self._saved_at = clock, clock()
        self._step: int | None = None
        self._outcomes = new.counters(
            "dcgan_checkpoints_total",
            "Checkpoints by outcome; a failed attempt is retried. Only the chief saves.",
            "outcome",
            OUTCOMES,
        )
        self._failures = new.counters(
            "dcgan_checkpoint_failures_total",
            "Failed attempts to save, by reason.",
            "reason",
            reasons,
        )
        self._stages = new.counters(
            "dcgan_checkpoint_stage_seconds_total",
            "Time of committed checkpoints in the upload thread, by stage.",
            "stage",
            STAGES,
        )
        self._seconds = new.histogram(
            "dcgan_checkpoint_seconds",
            "Time of a committed checkpoint, from snapshot to manifest.",
            BUCKETS_SECONDS,
        )
        self._held = new.histogram(
            "dcgan_checkpoint_held_seconds",
            "Time for which a checkpoint blocked the training thread.",
            BUCKETS_SECONDS,
        )
        self._bytes = new.counter("dcgan_checkpoint_bytes_total", "Bytes of committed checkpoints.")
        self._last_step = new.gauge(
            "dcgan_checkpoint_last_step",
            "Step of the last committed checkpoint, from which a restart resumes; 0 before it.",
        )
        self.every = new.setter("dcgan_checkpoint_every_steps", "Steps between checkpoints.")
        new.gauge(
            "dcgan_checkpoint_age_seconds",
            "Time since this worker saw a checkpoint committed; since its start before the first.",
        ).set_function(lambda: self._clock() - self._saved_at)

    def ended(
        self,
        step: int,
        seconds: float,
        outcome: Outcome,
        num_bytes: int = 0,
        *,
        stages: Mapping[Stage, float] | None = None,
        reason: str = "",
    ) -> None:
        """Count a save of ``step``; only a committed one counts as the last and is timed.

        Outcome ``failed`` is that of one attempt, for ``reason``. ``stages`` are in seconds.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome is {outcome!r}; expected one of {', '.join(OUTCOMES)}")
        self._outcomes[outcome].inc()
        if outcome == "failed" and reason in self._failures:
            self._failures[reason].inc()
        if outcome == "committed":
            self._seconds.observe(seconds)
            self._bytes.inc(num_bytes)
            for stage, stage_seconds in (stages or {}).items():
                self._stages[stage].inc(stage_seconds)
            self._set_last(step, fresh=True)

    def held(self, seconds: float) -> None:
        """Record for how long a checkpoint blocked the training thread."""
        self._held.observe(seconds)

    def seen(self, step: int, fresh: bool) -> None:
        """Record that ``step`` is committed.

        Not ``fresh`` is the checkpoint that this process resumed from: its age counts from the
        start of the process.
        """
        if step != self._step:
            self._set_last(step, fresh)

    def _set_last(self, step: int, fresh: bool) -> None:
        self._step = step
        self._last_step.set(step)
        if fresh:
            self._saved_at = self._clock()
