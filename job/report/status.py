"""Read the status of a run from its folder: a few small requests, however long the run.

The lease says if the run is alive, ``status.json`` its progress, and the newest attempt how it
ended. A stored value of an unexpected type counts as missing.
"""

import datetime
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Literal

from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import StorageError
from job.data.json_fields import read_object
from job.report.health import diagnose
from job.run import attempts
from job.run.attempts import AttemptRecord
from job.run.goodput import read_goodput
from job.run.holder import MAX_BYTES, BadLease, Holder, is_gone, parse_holder
from job.run.layout import CONFIGURATION, DIVERGENCES, GRIDS, HANGS, LEASE, STATUS, grid_step
from job.run.status_file import CURVES, SCORES
from job.run.stored_json import as_number, as_object, as_step, as_text
from job.run.summary import finished_step
from job.storage.store import ObjectMissing, ObjectStore

State = Literal["starting", "running", "done", "stopped", "failed", "stale"]
MAX_COUNTED = 10_000
MAX_POINTS = 1000
FRESH_SECONDS = 120.0  # for status.json of a run without a lease
# A run is quiet after three of its report intervals, but not before these times.
# Restoring and compiling report nothing.
QUIET_SECONDS, QUIET_SECONDS_AT_START = 60.0, 600.0


@dataclass(frozen=True)
class RunStatus:
    """A value is None if the run folder does not have it. Times are ages in seconds."""

    uri: str
    state: State
    why: str = ""
    """Why the run failed or is stale."""
    num_starts: int = 0
    """Attempts of the program."""
    holder: str = ""
    reported_seconds_ago: float | None = None
    """Age of the progress below."""
    report_interval_seconds: float | None = None
    """Report interval: that of ``status.json`` or of the training loop, if that is longer."""
    is_quiet: bool = False
    """Claims to be running but has not reported lately; its speed figures are stale."""
    phase: str = ""
    step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    images_per_second: float | None = None
    step_seconds: float | None = None
    data_wait_seconds: float | None = None
    seconds_left: float | None = None
    discriminator_loss: float | None = None
    generator_loss: float | None = None
    real_probability: float | None = None
    fake_probability: float | None = None
    discriminator_accuracy: float | None = None
    world_size: int | None = None
    restarts: int | None = None
    """Restarts of the workers in this attempt of the program."""
    rollbacks: int = 0
    hangs: int = 0
    checkpoint_step: int | None = None
    checkpoint_seconds_ago: float | None = None
    metrics_url: str = ""
    """Address of the chief's metrics; empty unless the run is running."""
    grid: str | None = None
    """URI of the newest grid."""
    curves: dict[str, list[float]] = field(default_factory=dict)
    """Equally long lists for ``step`` and each of ``CURVES``."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """Equally long lists for each of ``SCORES``."""
    values: dict[str, float] = field(default_factory=dict)
    """Every series of the last row, by its Prometheus name."""
    goodput: float | None = None
    """Share of the run's time in steps that count, 0 to 1, over all attempts (job.run.goodput)."""
    goodput_seconds: dict[str, float] = field(default_factory=dict)
    """Where the time went: the fields of ``Goodput``."""
    health: list[str] = field(default_factory=list)
    """Sentences: is this mode collapse, is D too strong, do the scores still improve?"""
    lease_number: int | None = None

    @property
    def is_over(self) -> bool:
        """Return True if the run no longer changes by itself."""
        return self.state not in ("starting", "running")


def read_status(store: ObjectStore, before: RunStatus | None = None) -> RunStatus:
    """Return the status of the run in ``store``. Raises ``StorageError`` if there is no run.

    With an earlier status a running run's checkpoints and grids are not listed again, and its lease
    is compared with the earlier one instead of the clock.
    """
    now = datetime.datetime.now(datetime.UTC)
    holder, lease_error = _read_lease(store)
    stored = read_object(store, STATUS)
    stamps = attempts.stamps(store)
    newest = attempts.read(store, stamps[-1]) if stamps else None
    has_run = holder or stored or newest or finished_step(store) is not None
    if not has_run and not store.stat(CONFIGURATION):
        raise StorageError(
            f"{store.uri}: no run there; expected a run folder (uri in run.yaml) of a run"
            " that was started"
        )
    progress = as_object(stored.get("progress"))
    step, total_steps = as_step(progress.get("step")), as_step(progress.get("total_steps"))
    reported_ago = _age(stored.get("time"), now)
    is_current = bool(newest and str(stored.get("start", "")).startswith(newest.stamp))
    state, why = _state(
        store, holder, lease_error, newest, reported_ago if is_current else None, before, now
    )
    if newest and not is_current:
        state = "starting" if state == "running" else state
        step, total_steps = (as_step(newest.facts.get(key)) for key in ("step", "target_steps"))
        reported_ago = _age(newest.facts.get("time"), now)
    is_running = state == "running"
    phase = as_text(progress.get("phase")) if is_running else ""
    report_interval = _report_seconds(stored)
    quiet_after = _quiet_after(phase if is_running else "start", report_interval)
    is_quiet = state in ("starting", "running") and (reported_ago or 0.0) > quiet_after
    if is_running and before and before.state == state:
        checkpoint_step = as_step(progress.get("checkpoint_step"))
        checkpoint_ago = _age(stored.get("checkpoint_time"), now)
        if checkpoint_ago is None:
            checkpoint_ago = before.checkpoint_seconds_ago
        grid = _grid_uri(store, stored.get("grid")) or before.grid
    else:
        checkpoint_step, checkpoint_ago, grid = _newest(store, now)
    curves = _lists(stored.get("curves"), ("step", *CURVES))
    scores = _lists(stored.get("scores"), SCORES)
    values = {
        as_text(name): number
        for name, value in as_object(stored.get("values")).items()
        if (number := as_number(value)) is not None
    }
    goodput = read_goodput(stored, newest)
    return RunStatus(
        uri=store.uri,
        state=state,
        why=why,
        num_starts=len(stamps),
        holder=str(holder) if holder else "",
        reported_seconds_ago=reported_ago,
        report_interval_seconds=report_interval,
        is_quiet=is_quiet,
        phase=phase,
        step=step,
        total_steps=total_steps,
        seconds_left=as_number(progress.get("seconds_left"))
        if is_running and not is_quiet
        else None,
        **{name: as_number(progress.get(name)) for name in _NUMBERS},
        world_size=as_step(progress.get("world_size")),
        restarts=as_step(progress.get("restarts")),
        rollbacks=_count(store, DIVERGENCES),
        hangs=_count(store, HANGS),
        checkpoint_step=checkpoint_step,
        checkpoint_seconds_ago=checkpoint_ago,
        metrics_url=as_text(stored.get("metrics_url")) if is_running else "",
        grid=grid,
        curves=curves,
        scores=scores,
        values=values,
        goodput=goodput.share if goodput and goodput.seconds else None,
        goodput_seconds=asdict(goodput) if goodput else {},
        health=diagnose(values, list(zip(*scores.values(), strict=True))),
        lease_number=holder.number if holder else None,
    )


_NUMBERS = (
    "epoch",
    "images_per_second",
    "step_seconds",
    "data_wait_seconds",
    "discriminator_loss",
    "generator_loss",
    "real_probability",
    "fake_probability",
    "discriminator_accuracy",
)


def _state(
    store: ObjectStore,
    holder: Holder | None,
    lease_error: str,
    newest: AttemptRecord | None,
    reported_ago: float | None,
    before: RunStatus | None,
    now: datetime.datetime,
) -> tuple[State, str]:
    if newest and (end := newest.end):  # its lease may live a moment longer
        outcome: State = end["outcome"]
        return outcome, as_text(end.get("why"), 4000) if outcome == "failed" else ""
    if holder:
        renewed_ago = (now - datetime.datetime.fromisoformat(holder.renewed)).total_seconds()
        has_moved = before is not None and before.lease_number not in (None, holder.number)
        if is_gone(holder):
            return "stale", f"its program is gone: {holder}"
        if has_moved or renewed_ago < holder.seconds + max(holder.seconds, 10.0):
            return "running", ""
        by_clock = f"for {renewed_ago:.0f} s, by the clock of this machine"
        return "stale", f"its lease was not renewed {by_clock}: {holder}"
    if reported_ago is not None and reported_ago < FRESH_SECONDS:  # a run without a lease
        return "running", ""
    if newest is None and finished_step(store) is not None:
        return "done", ""
    return "stale", lease_error or "its program died without recording an end"


def _report_seconds(stored: dict[str, Any]) -> float | None:
    found = (as_number(stored.get(name)) for name in ("every_seconds", "report_seconds"))
    return max((seconds for seconds in found if seconds is not None), default=None)


def _quiet_after(phase: str, report_interval: float | None) -> float:
    is_start = phase in ("start", "compile")
    return max(3 * (report_interval or 0.0), QUIET_SECONDS_AT_START if is_start else QUIET_SECONDS)


def _read_lease(store: ObjectStore) -> tuple[Holder | None, str]:
    """Return the holder, and what is wrong with an unreadable lease."""
    if store.stat(LEASE) is None:
        return None, ""
    try:
        data = store.read_range(LEASE, 0, MAX_BYTES + 1)
        return parse_holder(data, f"{store.uri}/{LEASE}"), ""
    except ObjectMissing:
        return None, ""
    except BadLease as error:
        return None, str(error)


def _newest(
    store: ObjectStore, now: datetime.datetime
) -> tuple[int | None, float | None, str | None]:
    """List for the newest checkpoint, its age and the newest grid."""
    manifest = next((manifest for _, manifest in Checkpoints(store).readable()), None)
    keys = (entry.key for entry in islice(store.list(GRIDS), MAX_COUNTED))
    grids = [uri for key in keys if (uri := _grid_uri(store, key))]
    grid = grids[-1] if grids else None
    if manifest is None:
        return None, None, grid
    return manifest.step, _age(manifest.created, now), grid


def _grid_uri(store: ObjectStore, key: Any) -> str | None:
    is_grid = isinstance(key, str) and grid_step(key) is not None
    return f"{store.uri.rstrip('/')}/{key}" if is_grid else None


def _count(store: ObjectStore, prefix: str) -> int:
    return sum(1 for _ in islice(store.list(prefix), MAX_COUNTED))


def _lists(stored: Any, names: tuple[str, ...]) -> dict[str, list[float]]:
    """Return stored curves without points that have no number (a NaN loss), or no curves."""
    lists = [as_object(stored).get(name) for name in names]
    if not all(isinstance(values, list) and len(values) <= MAX_POINTS for values in lists):
        return {}
    points = [
        [float(value) for value in point]
        for point in zip(*lists, strict=False)
        if all(as_number(value) is not None for value in point)
    ]
    return {name: [point[index] for point in points] for index, name in enumerate(names)}


def _age(time: Any, now: datetime.datetime) -> float | None:
    """Return the seconds since a stored time, at least 0: the clocks of two machines differ."""
    try:
        return max(0.0, (now - datetime.datetime.fromisoformat(time)).total_seconds())
    except (TypeError, ValueError):
        return None
