"""How a run stands, from its folder alone: a handful of small reads, however long the run.

Whether it lives says its lease; where it stands ``status.json``; how it ended the newest of ``starts/``. What is read was written by a stranger as
far as we know: what is not of the expected kind counts as not there.
"""

import datetime
import json
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, get_args

from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import StorageError
from job.run import attempts, lease
from job.run.holder import MAX_BYTES, BadLease, Holder, is_gone, parse_holder
from job.run.layout import CONFIGURATION, DIVERGENCES, GRIDS, HANGS, STATUS, grid_step
from job.run.status_file import CURVES
from job.run.summary import finished_step
from job.storage.store import ObjectMissing, ObjectStore

State = Literal["starting", "running", "done", "stopped", "failed", "stale"]
STATES: tuple[State, ...] = get_args(State)
MAX_STATUS_BYTES = 1 << 20
MAX_COUNTED = 10_000
MAX_POINTS = 1000
FRESH_SECONDS = 120.0  # of a status.json, where there is no lease to go by
# A run tells of itself every so often: after three times that, and these seconds at least, it is quiet. Restoring and compiling tell of nothing.
QUIET_SECONDS, QUIET_SECONDS_AT_FIRST = 60.0, 600.0

Numbers = list[float]


@dataclass(frozen=True)
class RunStatus:
    """``None`` is what nobody wrote down. Times are ages in seconds; ``curves`` has a list for ``step`` and for each of ``CURVES``."""

    uri: str
    state: State
    why: str = ""
    """Why it failed, or is stale."""
    num_starts: int = 0
    """Of the program."""
    holder: str = ""
    told_seconds_ago: float | None = None
    """Age of what is said of progress."""
    told_every_seconds: float | None = None
    """How often the run tells of progress: from one write of ``status.json`` to the next, or one report to the next where that is longer."""
    is_quiet: bool = False
    """It is said to run, and has told of nothing for much longer than that: what is said of speed is of the past."""
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
    world_size: int | None = None
    restarts: int | None = None
    """Of the workers since this start of the program."""
    rollbacks: int = 0
    hangs: int = 0
    checkpoint_step: int | None = None
    checkpoint_seconds_ago: float | None = None
    metrics_url: str = ""
    """Where the first worker serves its metrics; empty while the run is not running."""
    grid: str | None = None
    """URI of the newest."""
    curves: dict[str, Numbers] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    """Every series as of the last row, by its Prometheus name."""
    lease_number: int | None = None

    @property
    def is_over(self) -> bool:
        """Nothing will change by itself."""
        return self.state not in ("starting", "running")


def read_status(store: ObjectStore, before: RunStatus | None = None) -> RunStatus:
    """``before`` is an earlier look: with it a listing of checkpoints and grids is spared while the run goes on, and clocks need not agree.

    ``StorageError`` where nothing says that there was a run.
    """
    now = datetime.datetime.now(datetime.UTC)
    holder, lease_words = _lease(store)
    told = _status(store)
    stamps = attempts.stamps(store)
    newest = attempts.read(store, stamps[-1]) if stamps else None
    if not (
        holder or told or newest or finished_step(store) is not None or store.stat(CONFIGURATION)
    ):
        raise StorageError(
            f"{store.uri}: no run there; expected a run folder (uri in run.yaml) that a run was started into"
        )
    told_ago = _age(told.get("time"), now)
    is_of_this_start = bool(newest and str(told.get("start", "")).startswith(newest.stamp))
    state, why = _state(
        store, holder, lease_words, newest, told_ago if is_of_this_start else None, before, now
    )
    if state == "running" and newest and not is_of_this_start:
        state = "starting"
    progress = told.get("progress")
    progress = progress if isinstance(progress, dict) else {}
    step, total = _whole(progress.get("step")), _whole(progress.get("total_steps"))
    if newest and not is_of_this_start:
        step, total = _whole(newest.facts.get("step")), _whole(newest.facts.get("target_steps"))
        told_ago = _age(newest.facts.get("time"), now)
    checkpoint, checkpoint_ago, grid = (
        _whole(progress.get("checkpoint_step")),
        _age(told.get("checkpoint_time"), now),
        told.get("grid"),
    )
    if before is None or before.state != state or state != "running":
        checkpoint, checkpoint_ago, grid = _newest_of(store, now)
    else:
        grid = grid or _key_of(store, before.grid)
        if checkpoint_ago is None:
            checkpoint_ago = before.checkpoint_seconds_ago
    is_running, phase = state == "running", _text(progress.get("phase"))
    told_every = max(
        (
            seconds
            for name in ("every_seconds", "report_seconds")
            if (seconds := _number(told.get(name))) is not None
        ),
        default=None,
    )
    is_quiet = state in ("starting", "running") and (told_ago or 0.0) > _quiet_after(
        phase if is_running else "start", told_every
    )
    return RunStatus(
        uri=store.uri,
        state=state,
        why=why,
        num_starts=len(stamps),
        holder=str(holder) if holder else "",
        told_seconds_ago=told_ago,
        told_every_seconds=told_every,
        is_quiet=is_quiet,
        phase=phase if is_running else "",
        step=step,
        total_steps=total,
        images_per_second=_number(progress.get("images_per_second")),
        seconds_left=_number(progress.get("seconds_left")) if is_running and not is_quiet else None,
        **{name: _number(progress.get(name)) for name in _NUMBERS},
        world_size=_whole(progress.get("world_size")),
        restarts=_whole(progress.get("restarts")),
        rollbacks=_count(store, DIVERGENCES),
        hangs=_count(store, HANGS),
        checkpoint_step=checkpoint,
        checkpoint_seconds_ago=checkpoint_ago,
        metrics_url=_text(told.get("metrics_url")) if is_running else "",
        grid=f"{store.uri.rstrip('/')}/{grid}"
        if isinstance(grid, str) and grid_step(grid) is not None
        else None,
        curves=_curves(told),
        values=_values(told),
        lease_number=holder.number if holder else None,
    )


_NUMBERS = (
    "epoch",
    "step_seconds",
    "data_wait_seconds",
    "discriminator_loss",
    "generator_loss",
    "real_probability",
    "fake_probability",
)


def _state(
    store: ObjectStore,
    holder: Holder | None,
    lease_words: str,
    newest: attempts.AttemptRecord | None,
    told_ago: float | None,
    before: RunStatus | None,
    now: datetime.datetime,
) -> tuple[State, str]:
    if newest and (end := newest.end):
        outcome: State = end["outcome"]
        return outcome, _text(
            end.get("why"), 4000
        ) if outcome == "failed" else ""  # its lease may stand for a moment more
    if holder:
        renewed_ago = (now - datetime.datetime.fromisoformat(holder.renewed)).total_seconds()
        has_moved = before is not None and before.lease_number not in (None, holder.number)
        if is_gone(holder):
            return "stale", f"its program is gone: {holder}"
        if has_moved or renewed_ago < holder.seconds + max(holder.seconds, 10.0):
            return "running", ""
        return (
            "stale",
            f"its lease was not renewed for {renewed_ago:.0f} s, by the clock of this machine: {holder}",
        )
    if (
        told_ago is not None and told_ago < FRESH_SECONDS
    ):  # it may have no lease (checkpoints.lease_seconds: 0)
        return "running", ""
    if newest is None and finished_step(store) is not None:
        return "done", ""
    return "stale", lease_words or "its program ended without a word"


def _quiet_after(phase: str, told_every: float | None) -> float:
    return max(
        3 * (told_every or 0.0),
        QUIET_SECONDS_AT_FIRST if phase in ("start", "compile") else QUIET_SECONDS,
    )


def _lease(store: ObjectStore) -> tuple[Holder | None, str]:
    if store.stat(lease.KEY) is None:
        return None, ""
    try:
        return parse_holder(
            store.read_range(lease.KEY, 0, MAX_BYTES + 1), f"{store.uri}/{lease.KEY}"
        ), ""
    except ObjectMissing:
        return None, ""
    except BadLease as error:
        return None, str(error)


def _status(store: ObjectStore) -> dict[str, Any]:
    try:
        told = json.loads(store.read_range(STATUS, 0, MAX_STATUS_BYTES))
    except (ObjectMissing, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _newest_of(
    store: ObjectStore, now: datetime.datetime
) -> tuple[int | None, float | None, str | None]:
    """The newest committed checkpoint, its age, and the newest grid, by listing both."""
    manifest = next((manifest for _, manifest in Checkpoints(store).readable()), None)
    grids = [
        entry.key
        for entry in islice(store.list(GRIDS), MAX_COUNTED)
        if grid_step(entry.key) is not None
    ]
    if manifest is None:
        return None, None, grids[-1] if grids else None
    return manifest.step, _age(manifest.created, now), grids[-1] if grids else None


def _key_of(store: ObjectStore, uri: str | None) -> str | None:
    return uri.removeprefix(store.uri.rstrip("/") + "/") if uri else None


def _count(store: ObjectStore, prefix: str) -> int:
    return sum(1 for _ in islice(store.list(prefix), MAX_COUNTED))


def _curves(told: dict[str, Any]) -> dict[str, Numbers]:
    """All of one length, or none: a point whose number is none (a loss that was NaN) is left out."""
    curves = told.get("curves")
    lists = [curves.get(name) for name in ("step", *CURVES)] if isinstance(curves, dict) else []
    if not lists or not all(
        isinstance(values, list) and len(values) <= MAX_POINTS for values in lists
    ):
        return {}
    points = [
        point
        for point in zip(*lists, strict=False)
        if all(_number(value) is not None for value in point)
    ]
    return {
        name: [float(point[number]) for point in points]
        for number, name in enumerate(("step", *CURVES))
    }


def _values(told: dict[str, Any]) -> dict[str, float]:
    values = told.get("values")
    found = (
        {_text(name): _number(value) for name, value in values.items()}
        if isinstance(values, dict)
        else {}
    )
    return {name: value for name, value in found.items() if value is not None}


def _age(time: Any, now: datetime.datetime) -> float | None:
    """Seconds since a time as text, never below 0: the clocks of two machines may differ."""
    try:
        then = datetime.datetime.fromisoformat(time)
        return max(0.0, (now - then).total_seconds())
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300
        else None
    )


def _whole(value: Any) -> int | None:
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12
        else None
    )


def _text(value: Any, most: int = 200) -> str:
    return (
        "".join(letter if letter.isprintable() else " " for letter in value[:most])
        if isinstance(value, str)
        else ""
    )
