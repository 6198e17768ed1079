"""``report.html``: all that a run folder tells, in one file for people: outcome, curves, grids, faults, configuration, environment.

Reads the run folder and nothing else; what is missing or broken there is left out of the report, never an error.
"""

import datetime
import logging
import re
from typing import Any

from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import StorageError
from job.report.curves import curves, seconds_of
from job.report.incidents import Incident, read_incidents, read_starts
from job.report.metric_history import MetricHistory, read_metrics
from job.report.page import document, facts, picture, section, table, text, tiles
from job.report.pictures import read_gif, read_grids
from job.report.status import RunStatus, read_status
from job.run import metric_rows
from job.run.attempts import AttemptRecord
from job.run.layout import CONFIGURATION, REPORT, run_name
from job.storage.store import ObjectMissing, ObjectStore
from job.telemetry.progress import clock_text

log = logging.getLogger("dcgan.records")

MAX_CONFIGURATION_BYTES = 1 << 16
MAX_CHANGES = 50
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")


def write_report(store: ObjectStore) -> str:
    """Put it into the run folder, and join the metrics where the run wrote down its end; the report's URI."""
    found = read_status(store)
    if (
        found.is_over and found.state != "stale"
    ):  # a stale run may only be silent: its segments are its own
        try:
            metric_rows.merge(store)
        except StorageError as error:  # it may be forbidden to remove something there
            log.warning("metrics.jsonl is not written: %s", error)
    store.write(REPORT, _report(store, found))
    return f"{store.uri.rstrip('/')}/{REPORT}"


def build_report(store: ObjectStore) -> bytes:
    """The file. ``StorageError`` where there is no run."""
    return _report(store, read_status(store))


def _report(store: ObjectStore, found: RunStatus) -> bytes:
    history, starts = read_metrics(store), read_starts(store)
    faults = read_incidents(store, starts, history)
    name = run_name(store.uri)
    body = "\n".join(
        part
        for part in (
            _head(name, found, history),
            section("Faults survived", _faults(faults), _unread(history)),
            section("Curves", curves(history, faults)),
            section("Grids over time", _grids(store, name)),
            section("Starts", _starts(starts)),
            section("Data", _data(store, starts)),
            section("Environment", _environment(starts, found)),
            section("Configuration", _configuration(store)),
            f"<footer>Written {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC by dcgan-train report, from {text(store.uri)} alone.</footer>",
        )
        if part
    )
    return document(f"{name}: {found.state}", body)


def _head(name: str, found: RunStatus, history: MetricHistory) -> str:
    seconds = seconds_of(history)
    of = f", of {found.total_steps:,}" if found.total_steps else ""
    shown = [(f"step{of}", f"{found.step:,}" if found.step is not None else "none")]
    if seconds:
        shown.append(("time training", clock_text(seconds)))
    if found.images_per_second:
        shown.append(("images/s at last", f"{found.images_per_second:,.0f}"))
    if found.world_size:
        shown.append(("workers", f"{found.world_size}"))
    if found.checkpoint_step is not None:
        shown.append(("checkpoint of step", f"{found.checkpoint_step:,}"))
    if found.generator_loss is not None and found.discriminator_loss is not None and found.step:
        shown.append(
            ("loss of D, of G", f"{found.discriminator_loss:.3g}, {found.generator_loss:.3g}")
        )
    why = f'<p class="why">{text(found.why)}</p>' if found.why else ""
    heading = (
        f'<h1>{text(name, 200)}<span class="badge {found.state}">{text(found.state)}</span></h1>'
    )
    return f'<header>{heading}<p class="uri">{text(found.uri)}</p>{why}{tiles(shown)}</header>'


def _faults(faults: list[Incident]) -> str:
    if not faults:
        return '<p class="soft">None: nothing failed that the run folder tells of.</p>'
    rows = [
        (
            fault.kind,
            _time(fault.time),
            "" if fault.step is None else f"{fault.step:,}",
            fault.words,
        )
        for fault in faults
    ]
    return table(("what", "when (UTC)", "step", "more"), rows)


def _unread(history: MetricHistory) -> str:
    return (
        f'<p class="soft">{history.num_bad_lines} lines of the metrics could not be read and are left out.</p>'
        if history.num_bad_lines
        else ""
    )


def _grids(store: ObjectStore, name: str) -> str:
    shown = [
        picture(
            grid.uri, grid.caption, f"Generated images of run {name} at {grid.caption}", grid.size
        )
        for grid in read_grids(store)
    ]
    if gif := read_gif(store):
        shown.insert(
            0,
            picture(
                gif.uri,
                "all grids, one after the other",
                f"Grids of run {name}, animated",
                gif.size,
                "gif",
            ),
        )
    return f'<div class="pictures">{"".join(shown)}</div>' if shown else ""


def _starts(starts: list[AttemptRecord]) -> str:
    rows = []
    for start in starts:
        end, changed = start.end, start.facts.get("changed")
        ended = (
            f"{end['outcome']} {_time(str(end.get('time', '')))}"
            if end
            else "no end was written down"
        )
        why = f": {end.get('why')}" if end.get("outcome") == "failed" else ""
        rows.append(
            (_time(start.stamp), start.facts.get("step", ""), f"{ended}{why}", _changes(changed))
        )
    return table(
        ("started (UTC)", "from step", "ended", "settings changed since the checkpoint"), rows
    )


def _changes(changed: Any) -> str:
    if not isinstance(changed, dict):
        return ""
    known = [
        (key, value)
        for key, value in list(changed.items())[:MAX_CHANGES]
        if isinstance(value, dict)
    ]
    return "; ".join(f"{key} {value.get('was')} to {value.get('is')}" for key, value in known)


def _data(store: ObjectStore, starts: list[AttemptRecord]) -> str:
    data = starts[-1].facts.get("data") if starts else None
    if not isinstance(data, dict):
        newest = next((manifest for _, manifest in Checkpoints(store).readable()), None)
        data = {"fingerprint": newest.data_fingerprint} if newest else {}
    shape = data.get("image_shape")
    shown = "x".join(map(str, shape[:3])) if isinstance(shape, list) else None
    rows = (
        ("images", data.get("num_images")),
        ("height x width x channels", shown),
        ("fingerprint", data.get("fingerprint")),
        ("from", data.get("uri")),
    )
    return facts((name, value) for name, value in rows if value is not None)


def _environment(starts: list[AttemptRecord], found: RunStatus) -> str:
    told = starts[-1].facts if starts else {}
    rows: list[tuple[str, object]] = []
    for key in ("versions", "machine"):
        values = told.get(key)
        if isinstance(values, dict):
            rows += [(str(name), value) for name, value in list(values.items())[:MAX_CHANGES]]
    if found.world_size:
        rows.append(("workers", found.world_size))
    return facts(rows)


def _configuration(store: ObjectStore) -> str:
    try:
        said = store.read_range(CONFIGURATION, 0, MAX_CONFIGURATION_BYTES).decode(errors="replace")
    except ObjectMissing:
        return ""
    return f'<details class="card"><summary>run.yaml, resolved</summary><pre>{text(said, MAX_CONFIGURATION_BYTES)}</pre></details>'


def _time(said: str) -> str:
    """A stamp or an ISO time as ``2026-01-02 03:04:05``."""
    match = _STAMP.match(said)
    if match:
        year, month, day, hour, minute, second = match.groups()
        return f"{year}-{month}-{day} {hour}:{minute}:{second}"
    return said[:19].replace("T", " ")
