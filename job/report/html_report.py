"""Write ``report.html``: outcome, incidents, curves, grids, configuration of a run in one file.

Only the run folder is read. What is missing or broken there is left out of the report.
"""

import datetime
import logging
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import StorageError
from job.report.curves import seconds_trained, training_charts
from job.report.evaluated import read_evaluated
from job.report.incidents import Incident, read_attempts, read_incidents
from job.report.metric_history import MetricHistory, read_metrics
from job.report.page import clean, render
from job.report.pictures import read_pictures
from job.report.status import RunStatus, read_status
from job.run import metric_rows
from job.run.attempts import AttemptRecord
from job.run.layout import CONFIGURATION, REPORT, run_name
from job.run.stored_json import as_object
from job.storage.store import ObjectMissing, ObjectStore
from job.telemetry.progress import clock_text

log = logging.getLogger("dcgan.records")

MAX_CONFIGURATION_BYTES = 1 << 16
MAX_ITEMS = 50
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")


def write_report(store: ObjectStore) -> str:
    """Write the report into the run folder and merge the metrics of a run that ended.

    Returns the report's URI.
    """
    status = read_status(store)
    if status.is_over and status.state != "stale":  # a stale run may only be silent
        try:
            metric_rows.merge(store)
        except StorageError as error:  # this user may not be allowed to delete
            log.warning("metrics.jsonl is not written: %s", error)
    store.write(REPORT, build_report(store, status))
    return f"{store.uri.rstrip('/')}/{REPORT}"


def build_report(
    store: ObjectStore, status: RunStatus | None = None, refresh_seconds: int | None = None
) -> bytes:
    """Return the report. Raises ``StorageError`` if there is no run.

    With ``refresh_seconds`` a browser loads the page again after that time, until the run is over.
    """
    status = status or read_status(store)
    history, attempts = read_metrics(store), read_attempts(store)
    incidents = read_incidents(store, attempts, history)
    charts = training_charts(history, incidents)
    return render(
        "report.html.j2",
        name=run_name(store.uri)[:200],
        refresh_seconds=None if status.is_over else refresh_seconds,
        status=status,
        tiles=list(_tiles(status, history)),
        incidents=[_incident_cells(incident) for incident in incidents],
        num_bad_lines=history.num_bad_lines,
        charts=charts,
        mark_kinds={mark.kind for chart in charts for _, mark in chart.marks},
        pictures=read_pictures(store),
        evaluated=read_evaluated(store),
        attempts=[_attempt_cells(attempt) for attempt in attempts],
        data=list(_data(store, attempts)),
        environment=list(_environment(attempts, status)),
        configuration=_configuration(store),
        written=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
    )


def _tiles(status: RunStatus, history: MetricHistory) -> Iterator[tuple[str, str]]:
    of = f", of {status.total_steps:,}" if status.total_steps else ""
    yield f"step{of}", f"{status.step:,}" if status.step is not None else "none"
    if seconds := seconds_trained(history):
        yield "time training", clock_text(seconds)
    if status.goodput is not None:
        yield "goodput", f"{status.goodput:.0%}"
    if status.images_per_second:
        yield "latest images/s", f"{status.images_per_second:,.0f}"
    if status.world_size:
        yield "workers", f"{status.world_size}"
    if status.checkpoint_step is not None:
        yield "checkpoint of step", f"{status.checkpoint_step:,}"
    losses = status.discriminator_loss, status.generator_loss
    if status.step and None not in losses:
        yield "loss of D, of G", ", ".join(f"{loss:.3g}" for loss in losses)


def _incident_cells(incident: Incident) -> tuple[str, ...]:
    step = "" if incident.step is None else f"{incident.step:,}"
    return incident.kind, _time(incident.time), step, incident.details


def _attempt_cells(attempt: AttemptRecord) -> tuple[object, ...]:
    end = attempt.end
    ended = f"{end['outcome']} {_time(str(end.get('time', '')))}" if end else "no end recorded"
    if end.get("outcome") == "failed":
        ended += f": {end.get('why')}"
    changed = as_object(attempt.facts.get("changed"))
    changes = "; ".join(
        f"{key} {change.get('was')} to {change.get('is')}"
        for key, change in list(changed.items())[:MAX_ITEMS]
        if isinstance(change, dict)
    )
    return _time(attempt.stamp), attempt.facts.get("step", ""), ended, changes


def _data(store: ObjectStore, attempts: list[AttemptRecord]) -> Iterator[tuple[str, Any]]:
    data = as_object(attempts[-1].facts.get("data")) if attempts else {}
    if not data and (newest := next((found for _, found in Checkpoints(store).readable()), None)):
        data = {"fingerprint": newest.data_fingerprint}
    if isinstance(shape := data.get("image_shape"), list):
        data = data | {"shape": "x".join(map(str, shape[:3]))}
    labels = {
        "num_images": "images",
        "shape": "height x width x channels",
        "fingerprint": "fingerprint",
        "uri": "from",
    }
    for key, label in labels.items():
        if data.get(key) is not None:
            yield label, data[key]


def _environment(attempts: list[AttemptRecord], status: RunStatus) -> Iterator[tuple[str, Any]]:
    facts = attempts[-1].facts if attempts else {}
    for key in ("versions", "machine"):
        yield from list(as_object(facts.get(key)).items())[:MAX_ITEMS]
    if status.world_size:
        yield "workers", status.world_size


def _configuration(store: ObjectStore) -> Markup | None:
    try:
        data = store.read_range(CONFIGURATION, 0, MAX_CONFIGURATION_BYTES)
    except ObjectMissing:
        return None
    return escape(clean(data.decode(errors="replace"), MAX_CONFIGURATION_BYTES))


def _time(text: str) -> str:
    """Return a stamp or an ISO time as ``2026-01-02 03:04:05``."""
    if match := _STAMP.match(text):
        return "{}-{}-{} {}:{}:{}".format(*match.groups())
    return text[:19].replace("T", " ")
