"""Incidents of a run: every kind, in the order of time, counters summed over attempts."""

from job.report.incidents import read_attempts, read_incidents
from job.report.metric_history import read_metrics
from job.storage.store import ObjectStore
from tests.report.runs import done_run, troubled_run


def test_every_kind_is_found_in_the_order_of_time(folder: ObjectStore) -> None:
    troubled_run(folder)
    incidents = read_incidents(folder, read_attempts(folder), read_metrics(folder))
    assert [(incident.kind, incident.step) for incident in incidents] == [
        ("a number was not finite", 2703),
        ("a worker hung", None),
        ("the workers restarted", 2000),
        ("the program was killed", 1000),
        ("a checkpoint was quarantined", 1000),
        ("image downloads retried, chief", None),
    ]
    details = {incident.kind: incident.details for incident in incidents}
    assert details["a number was not finite"] == "rolled back to step 2000; found on worker 1"
    assert details["the workers restarted"] == "attempt 2; 1,400 steps trained again"
    assert details["image downloads retried, chief"] == "2 times (throttled)"


def test_a_run_without_incidents_has_none(folder: ObjectStore) -> None:
    done_run(folder)
    assert read_incidents(folder, read_attempts(folder), read_metrics(folder)) == []
