"""The Prometheus instruments of one worker's checkpoints: how they ended, how long they took and where, how old the last one is.

Knows no store; it is told. Only the first worker saves; the others learn of commits from reports, so that each can tell the age.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Outcome = Literal["committed", "skipped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Of a committed one, in the saving thread: bytes from arrays; the parts to the store; the manifest.
Stage = Literal["pack", "upload", "commit"]
STAGES: tuple[Stage, ...] = get_args(Stage)
BUCKETS_SECONDS = (0.01, 0.03, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class CheckpointMetrics:
    """Checkpoints of the worker that ``labels`` names (each label's value by its name), in ``registry``.

    ``reasons`` are those for which a request may fail. ``clock`` is in seconds; the age is computed with it at each scrape.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        registry: CollectorRegistry,
        reasons: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._saved_at = clock()
        self._step: int | None = None
        names = tuple(labels)

        def histogram(name: str, meaning: str) -> Histogram:
            return Histogram(
                name, meaning, names, buckets=BUCKETS_SECONDS, registry=registry
            ).labels(**labels)

        outcomes = Counter(
            "dcgan_checkpoints_total",
            "Checkpoints by how they ended; a failed try is repeated. Only the first worker saves.",
            (*names, "outcome"),
            registry=registry,
        )
        self._outcomes = {
            outcome: outcomes.labels(**labels, outcome=outcome) for outcome in OUTCOMES
        }
        failures = Counter(
            "dcgan_checkpoint_failures_total",
            "Tries to save that failed, by what went wrong.",
            (*names, "reason"),
            registry=registry,
        )
        self._failures = {reason: failures.labels(**labels, reason=reason) for reason in reasons}
        stages = Counter(
            "dcgan_checkpoint_stage_seconds_total",
            "Time of committed checkpoints in the saving thread, by what was done.",
            (*names, "stage"),
            registry=registry,
        )
        self._stages = {stage: stages.labels(**labels, stage=stage) for stage in STAGES}
        self._seconds = histogram(
            "dcgan_checkpoint_seconds", "Time of a committed checkpoint, from snapshot to manifest."
        )
        self._held = histogram(
            "dcgan_checkpoint_held_seconds", "Time for which a checkpoint kept the training thread."
        )
        self._bytes = Counter(
            "dcgan_checkpoint_bytes_total",
            "Bytes of committed checkpoints.",
            names,
            registry=registry,
        ).labels(**labels)
        self._last_step = Gauge(
            "dcgan_checkpoint_last_step",
            "Step of the last committed checkpoint: where a restart begins; 0 before the first.",
            names,
            registry=registry,
        ).labels(**labels)
        self._every = Gauge(
            "dcgan_checkpoint_every_steps",
            "Steps from one checkpoint to the next.",
            names,
            registry=registry,
        )
        self._every_labels = labels
        age = Gauge(
            "dcgan_checkpoint_age_seconds",
            "Time since this worker saw a checkpoint committed; since its start before the first.",
            names,
            registry=registry,
        )
        age.labels(**labels).set_function(lambda: self._clock() - self._saved_at)

    def every(self, num_steps: int) -> None:
        """How often a checkpoint is due."""
        self._every.labels(**self._every_labels).set(num_steps)

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
        """Count a save of ``step``; only one that was committed counts as the last, and into the times (``stages`` in seconds).

        Outcome ``failed`` is that of one try, for ``reason``: it is tried again.
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
        """How long a checkpoint kept the training thread from training."""
        self._held.observe(seconds)

    def seen(self, step: int, fresh: bool) -> None:
        """A report says that ``step`` is committed; not ``fresh`` is the one that this process resumed from: its age counts from the start."""
        if step != self._step:
            self._set_last(step, fresh)

    def _set_last(self, step: int, fresh: bool) -> None:
        self._step = step
        self._last_step.set(step)
        if fresh:
            self._saved_at = self._clock()
