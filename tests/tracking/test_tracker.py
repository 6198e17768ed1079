"""A service is sent each step once, and nothing waits for one that is slow or away."""

import logging
import threading
import time
from typing import cast

import pytest

from job.config.tracking import TrackingSpec
from job.run.layout import grid_key
from job.storage.store import ObjectStore
from job.tracking.tracked_run import TrackedRun, read_tracked_run, write_tracked_run
from job.tracking.tracker import MAX_REASON, MAX_WAITING, TRIES, Tracker
from tests.checkpoints.saves import Breaking, save
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


def answer(service: Recorded) -> None:
    """Let the call that hangs return, and wait for the end of the tracker's thread."""
    service.answers.set()
    for thread in threading.enumerate():
        if thread.name == "tracking":
            thread.join(60)
            assert not thread.is_alive()


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
    service = Recorded(num_failures=1, hangs_at="begin")
    tracked, began = tracker(service, folder, close_seconds=0.05), time.monotonic()
    tracked.log("scores", 0, {})
    assert service.hangs.wait(60)
    for step in range(MAX_WAITING + 50):
        tracked.log("metrics", step, {})
    tracked.close("finished")
    assert time.monotonic() - began < 5
    assert service.is_abandoned
    answer(service)
    assert service.num_requests == 1  # it was in flight and then failed; it is not repeated
    # Also those that still waited, and the end.
    assert caplog.messages == [
        "mlflow did not take the last of the run in time",
        f"{MAX_WAITING + 52} records were not sent to mlflow",
    ]


def test_a_limit_of_the_caller_shortens_the_wait(folder: ObjectStore) -> None:
    service = Recorded(hangs_at="end")
    tracked, began = tracker(service, folder), time.monotonic()
    tracked.close("killed", max_seconds=-1.0)
    assert time.monotonic() - began < 5
    answer(service)


@pytest.mark.parametrize("hangs_at", ["begin", "describe", "log"])
def test_an_abandoned_tracker_leaves_the_run_folder_to_the_next_attempt(
    hangs_at: str, folder: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    service = Recorded(hangs_at=hangs_at)
    tracked = tracker(service, folder)
    tracked.log("metrics", 20, {})
    tracked.log("metrics", 40, {})
    assert service.hangs.wait(60)
    tracked.close("killed", max_seconds=0.0)
    newer = TrackedRun("mlflow", "garments", "9f8e", {"metrics": 60})
    write_tracked_run(folder, newer)
    answer(service)
    assert read_tracked_run(folder, "mlflow", "garments") == newer
    assert service.calls[-1][0] == hangs_at
    assert len(caplog.messages) == 2  # those of ``close``


def test_nothing_is_sent_after_a_store_that_hangs(folder: ObjectStore) -> None:
    service, hangs = Recorded(), threading.Event()

    def before(number: int, name: str) -> None:
        if name == "write":
            hangs.set()
            service.answers.wait(60)

    tracked = tracker(service, cast(ObjectStore, Breaking(folder, before)))
    tracked.log("metrics", 20, {})
    assert hangs.wait(60)
    tracked.close("killed", max_seconds=0.0)
    answer(service)
    assert service.calls == [("begin", None)]


def test_a_missing_file_is_not_a_failure_of_the_service(
    folder: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The store refused the grid, and the checkpoint was deleted as an old one."""
    service = Recorded()
    tracked = tracker(service, folder)
    tracked.log_grid(20)
    tracked.log_checkpoint(20)
    tracked.log("metrics", 40, {})
    tracked.close("finished")
    assert [call[0] for call in service.calls] == ["begin", "describe", "log", "end"]
    assert caplog.messages == []


def test_a_secret_in_a_failure_is_masked_before_the_message_is_cut(
    folder: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Talkative(Recorded):
        def begin(self, run_id: str | None) -> str:
            text = "a" * (MAX_REASON - len("RuntimeError: http://joe:s3cre"))
            raise RuntimeError(f"{text}http://joe:s3cret@host")

    tracker(Talkative(), folder).close("failed")
    assert "http://joe:***" in caplog.messages[0]
    assert "s3cre" not in caplog.text


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
