"""Runs side by side: what differs in their configurations, how far each is, and its scores.

Reads the run folders only. What is missing or broken in one is unknown: None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from job.checkpoints.best import Best, best_of
from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.documents import flat, read_stored
from job.config.errors import ConfigError
from job.config.load import to_dict
from job.config.spec import RunSpec
from job.data.json_fields import WrongField, validate_fields
from job.quality.evaluation import Evaluation
from job.quality.scores import Basis, check_comparable
from job.report.evaluated import read_evaluation
from job.report.status import RunStatus, State, read_status
from job.run.layout import CONFIGURATION, is_number, run_name
from job.run.stored_json import as_step, as_text
from job.run.summary import read_speed
from job.storage.store import ObjectMissing, ObjectStore

MAX_CONFIGURATION_BYTES = 1 << 16
INCOMPARABLE_KEYS = ("uri", "preset")  # they always differ, or are shown with each run


@dataclass(frozen=True)
class ComparedRun:
    """A run as it is shown. Frechet distances are those of the run's own scores."""

    label: str
    """Number in the comparison, and name: ``1 first``."""
    uri: str
    preset: str
    state: State
    step: int | None
    total_steps: int | None
    images_seen: int | None
    images_per_step: int | None
    images_per_second: float | None
    best_frechet_distance: float | None
    best_step: int | None
    last_frechet_distance: float | None
    basis: Basis | None
    """The conditions of these distances."""
    evaluation: Evaluation | None
    """The newest result of `evaluate --record`."""
    configuration: dict[str, Any]
    """Values by dotted key; empty if ``run.yaml`` cannot be read."""


@dataclass(frozen=True)
class Comparison:
    """``differences`` has a value for each run, in order; None if the run does not have the key.

    ``why_not_comparable`` and ``why_evaluations_are_not`` are empty if distances can be compared.
    """

    runs: list[ComparedRun]
    differences: dict[str, list[Any]]
    why_not_comparable: str
    why_evaluations_are_not: str


def compare_runs(stores: Sequence[ObjectStore]) -> Comparison:
    """Compare the runs in ``stores``. Raises ``StorageError`` if one of them has no run."""
    runs = [_read_run(number, store) for number, store in enumerate(stores, start=1)]
    scored = [(run.label, run.basis) for run in runs if run.best_frechet_distance is not None]
    evaluated = [(run.label, run.evaluation.basis) for run in runs if run.evaluation]
    return Comparison(
        runs,
        _differences([run.configuration for run in runs]),
        _why_not_comparable(scored),
        _why_not_comparable(evaluated),
    )


def _read_run(number: int, store: ObjectStore) -> ComparedRun:
    status, configuration = read_status(store), _configuration(store)
    manifest = next((found for _, found in Checkpoints(store).readable()), None)
    batch = as_step(configuration.get("training.global_batch_size"))
    best, last = _distances(status, manifest)
    speed = read_speed(store) if status.state == "done" else status.images_per_second
    return ComparedRun(
        label=f"{number} {run_name(store.uri)[:200]}",
        uri=store.uri,
        preset=as_text(configuration.get("preset")),
        state=status.state,
        step=status.step,
        total_steps=status.total_steps,
        images_seen=None if status.step is None or not batch else status.step * batch,
        images_per_step=batch or None,
        images_per_second=status.images_per_second if speed is None else speed,
        best_frechet_distance=best.distance if best else None,
        best_step=best.step if best else None,
        last_frechet_distance=last,
        basis=_basis(manifest),
        evaluation=read_evaluation(store),
        configuration=configuration,
    )


def _configuration(store: ObjectStore) -> dict[str, Any]:
    """Return the stored values; a key that an earlier version did not have has its default."""
    try:
        data = store.read_range(CONFIGURATION, 0, MAX_CONFIGURATION_BYTES + 1)
    except ObjectMissing:
        return {}
    stored = {} if len(data) > MAX_CONFIGURATION_BYTES else read_stored(data)
    return flat(to_dict(RunSpec())) | stored if stored else {}


def _distances(status: RunStatus, manifest: Manifest | None) -> tuple[Best | None, float | None]:
    """Return the best and the last Frechet distance; the best is that of a checkpoint, if known."""
    steps, distances = (status.scores.get(name, []) for name in ("step", "frechet_distance"))
    best = best_of(manifest.metrics) if manifest else None
    if best is None and distances:
        distance, step = min(zip(distances, steps, strict=True))
        best = Best(distance, int(step))
    if distances:
        return best, distances[-1]
    return best, manifest.metrics.get("frechet_distance") if manifest else None


def _basis(manifest: Manifest | None) -> Basis | None:
    """Return the conditions of a run's scores; None if its newest checkpoint does not have them."""
    fields: dict[str, Any] = dict(manifest.scored_by) if manifest else {}
    for name in ("num_real", "num_generated"):
        if is_number(text := fields.get(name, "")):
            fields[name] = int(text)
    try:
        return validate_fields(Basis, fields)
    except WrongField:
        return None


def _why_not_comparable(scores: Sequence[tuple[str, Basis | None]]) -> str:
    """Return why ``scores`` say nothing about each other; empty if they do."""
    if len(scores) < 2:
        return ""
    known = [(label, basis) for label, basis in scores if basis is not None]
    if len(known) < len(scores):
        unknown = next(label for label, basis in scores if basis is None)
        return f"{unknown} does not say which features and images its scores are of"
    try:
        for other in known[1:]:
            check_comparable(known[0], other)
    except ConfigError as error:
        return str(error)
    return ""


def _differences(configurations: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    known = [each for each in configurations if each]
    keys = dict.fromkeys(key for each in known for key in each if key not in INCOMPARABLE_KEYS)
    return {
        key: [each.get(key) for each in configurations]
        for key in keys
        if any(each.get(key) != known[0].get(key) for each in known)
    }
