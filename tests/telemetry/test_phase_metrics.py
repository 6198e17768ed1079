"""One phase at a time, and the seconds spent in each."""

from job.telemetry.metrics import WorkerMetrics
from job.telemetry.step_report import PHASES
from tests.telemetry.test_metrics import Clock, clock, metrics, value

__all__ = ["clock", "metrics"]


def test_one_phase_at_a_time(metrics: WorkerMetrics, clock: Clock) -> None:
    def present() -> set[str]:
        return {phase for phase in PHASES if value(metrics, "dcgan_phase", phase=phase)}

    assert present() == set()
    for phase, seconds in (
        ("start", 5.0),
        ("compile", 8.0),
        ("train", 1.0),
        ("train", 2.0),
        ("checkpoint", 0.5),
        ("train", 1.0),
    ):
        metrics.enter(phase)  # type: ignore[arg-type]
        assert present() == {phase}
        clock.seconds += seconds
    metrics.enter("done")
    clock.seconds += 3.0  # the time of the present phase counts while it lasts
    spent = {phase: value(metrics, "dcgan_phase_seconds_total", phase=phase) for phase in PHASES}
    assert spent == {
        "start": 5.0,
        "compile": 8.0,
        "train": 4.0,
        "sample": 0.0,
        "score": 0.0,
        "checkpoint": 0.5,
        "done": 3.0,
    }
