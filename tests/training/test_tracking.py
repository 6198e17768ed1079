"""The events of a run that its tracking service is sent."""

import numpy as np
import pytest

from job.checkpoints.uploader import SaveEvent
from job.config.tracking import TrackingSpec
from job.run.layout import grid_key
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.tracking.tracker import Tracker
from job.training.listeners import Requests
from job.training.tracking import MEASURES, TrackingListener
from tests.checkpoints.saves import save
from tests.report.runs import Clock
from tests.servers.prometheus import wait_for
from tests.telemetry.step_reports import report
from tests.tracking.recorded import Recorded


@pytest.fixture
def folder(tmp_path) -> ObjectStore:
    return open_store(str(tmp_path / "run"))


def listener(service: Recorded, folder: ObjectStore, clock: Clock) -> TrackingListener:
    tracker = Tracker(service, folder, TrackingSpec(service="mlflow"), clock=clock)
    return TrackingListener(tracker, 10.0, clock)


def test_reports_are_sent_at_intervals_and_the_last_one_always(folder: ObjectStore) -> None:
    service, clock = Recorded(), Clock()
    events = listener(service, folder, clock)
    events.on_report(report(step=0, phase="compile"), 0)
    for step in (20, 40, 60, 80):
        events.on_report(report(step=step), 20)
        events.on_report(report(step=step, phase="checkpoint"), 0)
        clock.now += 6
    events.on_phase("done")
    events.on_finish()
    events.close()
    logged = [call for call in service.calls if call[0] == "log"]
    assert [call[1] for call in logged] == [20, 60, 80]
    assert set(logged[0][3]) == set(MEASURES)
    assert logged[0][3]["generator_loss"] == report().generator_loss
    assert service.calls[-1] == ("end", "finished")


def test_grids_scores_and_committed_checkpoints_are_sent(folder: ObjectStore) -> None:
    service = Recorded()
    events = listener(service, folder, Clock())
    folder.write(grid_key(20), b"png")
    uri = save(folder, 20).uri(20)
    events.on_grid(20, np.zeros((25, 8, 8, 1), np.uint8))
    events.on_scores(20, {"frechet_distance": 3.5})
    for outcome in ("failed", "skipped", "committed"):
        events.on_save_event(SaveEvent(20, outcome, 0.1))
    events.close()
    found = [(call[0], *call[-1:]) for call in service.calls[2:]]
    assert found == [
        ("grid", b"png"),
        ("log", {"frechet_distance": 3.5}),
        ("tag", {"newest_checkpoint": uri}),
        ("end", "failed"),
    ]


@pytest.mark.parametrize(("is_asked", "status"), [(True, "killed"), (False, "failed")])
def test_a_run_that_was_asked_to_stop_was_killed(
    is_asked: bool, status: str, folder: ObjectStore
) -> None:
    service = Recorded()
    events = listener(service, folder, Clock())
    events.on_requests(Requests(stop=is_asked))
    events.on_requests(Requests())
    events.on_finish()
    events.close()
    assert service.calls[-1] == ("end", status)


def test_the_end_is_sent_before_the_listener_is_closed(folder: ObjectStore) -> None:
    """Metrics stay for a last scrape meanwhile."""
    service = Recorded()
    events = listener(service, folder, Clock())
    events.on_report(report(step=20), 20)
    events.on_report(report(step=40), 20)
    events.on_phase("done")
    events.on_finish()
    wait_for("the end", lambda: ("end", "finished") in service.calls)
    assert [call[1] for call in service.calls if call[0] == "log"] == [20, 40]
    events.close()
    assert service.calls[-1] == ("end", "finished")
