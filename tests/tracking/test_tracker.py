"""A service is sent each step once, and nothing waits for one that is slow or away."""

import logging
import time

import pytest

from job.config.tracking import TrackingSpec
from job.run.layout import grid_key
from job.storage.store import ObjectStore
from job.tracking.tracked_run import TrackedRun, read_tracked_run
from job.tracking.tracker import MAX_WAITING, TRIES, Tracker
from tests.checkpoints.saves import save
from tests.tracking.recorded import Recorded

SPEC = TrackingSpec(service="mlflow", project="garments")


def tracker(service: Recorded, folder: ObjectStore, close_seconds: float = 30.0) -> Tracker:
    return Tracker(
        service,
        folder,
        SPEC,
        wait_seconds=0.001,
        close_seconds=close_seconds,
        clock=lambda: 1.5,
    )


def test_a_run_is_sent_in_order_with_its_files(folder: ObjectStore) -> None:
    folder.write(grid_key(20), b"png")
    checkpoints = save(folder, 20, 40, best_frechet_distance=3.0, best_step=20)
    service = Recorded()
    tracked = tracker(service, folder)
    tracked.log("metrics", 20, {"generator_loss": 1.0})
    tracked.log_grid(20)
    tracked.log("scores", 20, {"frechet_distance": 3.0})
    tracked.log_checkpoint(40)
    tracked.close("finished")
    assert service.calls == [
        ("begin", None),
        ("describe",),
        ("log", 20, 1.5, {"generator_loss": 1.0}),
        ("grid", 20, b"png"),
        ("log", 20, 1.5, {"frechet_distance": 3.0}),
        (
            "tag",
            {"newest_checkpoint": checkpoints.uri(40), "best_checkpoint": checkpoints.uri(20)},
        ),
        ("end", "finished"),
    ]
    assert read_tracked_run(folder, "mlflow", "garments") == TrackedRun(
        "mlflow", "garments", "0a1b", {"metrics": 20, "samples": 20, "scores": 20}
    )


def test_a_later_attempt_continues_the_run_and_sends_no_step_twice(folder: ObjectStore) -> None:
    first, second = Recorded(), Recorded()
    tracked = tracker(first, folder)
    for step in (20, 40, 40, 60, 40):  # step 40 again: the run rolled back
        tracked.log("metrics", step, {})
    tracked.close("failed")
    tracked = tracker(second, folder)
    for step in (40, 60, 80):
        tracked.log("metrics", step, {})
    tracked.close("finished")
    assert [call[1] for call in first.calls if call[0] == "log"] == [20, 40, 60]
    assert [call[1] for call in second.calls if call[0] == "log"] == [80]
    assert second.calls[0] == ("begin", "0a1b")


def test_a_failure_is_repeated_and_reported_once(
    folder: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    service = Recorded(num_failures=TRIES - 1)
    with caplog.at_level(logging.INFO, "dcgan.tracking"):
        tracked = tracker(service, folder)
        tracked.log("metrics", 20, {})
        tracked.close("finished")
    assert [call[0] for call in service.calls] == ["begin", "describe", "log", "end"]
    warning, info = caplog.messages
    assert warning == (
        "the run is not tracked by mlflow, still trying: ConnectionError: the service is away"
    )
    assert info.startswith("the run is tracked by mlflow again, after 0 s")


def test_a_record_that_fails_too_often_is_dropped_and_the_next_one_is_sent(
    folder: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    service = Recorded(num_failures=TRIES)
    tracked = tracker(service, folder)
    tracked.log("metrics", 20, {})
    tracked.log("metrics", 40, {})
    tracked.close("finished")
    assert [call[1] for call in service.calls if call[0] == "log"] == [40]
    assert caplog.messages[1:] == ["1 records were not sent to mlflow"]


def test_a_service_that_hangs_delays_the_end_for_a_bounded_time(
    folder: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    service = Recorded()
    service.answers.clear()
    tracked, began = tracker(service, folder, close_seconds=0.05), time.monotonic()
    for step in range(MAX_WAITING + 50):
        tracked.log("metrics", step, {})
    tracked.close("finished")
    assert time.monotonic() - began < 5
    assert service.is_abandoned
    assert service.num_requests <= 2  # one was in flight; nothing further is sent
    late, lost = caplog.messages
    assert late == "mlflow did not take the last of the run in time"
    assert int(lost.split()[0]) in (49, 50)  # the thread took one of them, or has not begun yet


def test_the_run_is_created_once_though_its_description_fails(folder: ObjectStore) -> None:
    class Undescribed(Recorded):
        def describe(self) -> None:
            if not self.calls[1:]:
                self.calls.append(("refused",))
                raise ConnectionError
            super().describe()

    service = Undescribed()
    tracked = tracker(service, folder)
    tracked.close("finished")
    assert service.calls == [("begin", None), ("refused",), ("describe",), ("end", "finished")]
