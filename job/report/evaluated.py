"""The evaluation of a run in its report, as ``dcgan-train evaluate --record`` wrote it."""

from typing import NamedTuple

from job.config.errors import ConfigError
from job.quality.evaluation import MAX_BYTES, Evaluation, parse_evaluation
from job.quality.memorization import CAUTION
from job.quality.tables import (
    NEAR_HELP,
    Table,
    basis_text,
    near_table,
    score_table,
    usefulness_table,
)
from job.report.pictures import Picture, read_picture
from job.run.layout import EVALUATION, PAIRS
from job.storage.store import ObjectMissing, ObjectStore


class Evaluated(NamedTuple):
    """Names of both sets of images, tables with a text below each, the closest pairs."""

    images: str
    tables: list[tuple[Table, str]]
    pairs: Picture | None


def read_evaluation(store: ObjectStore) -> Evaluation | None:
    """Return the newest evaluation of a run; None if there is none that can be read."""
    try:
        return parse_evaluation(store.read_range(EVALUATION, 0, MAX_BYTES + 1), EVALUATION)
    except (ObjectMissing, ConfigError):
        return None


def read_evaluated(store: ObjectStore) -> Evaluated | None:
    """Return the newest evaluation for the report; None if there is none that can be read."""
    found = read_evaluation(store)
    if found is None:
        return None
    pairs = read_picture(store, PAIRS, "closest pairs") if found.near_training else None
    return Evaluated(f"{found.images} against {found.real}", _tables(found), pairs)


def _tables(found: Evaluation) -> list[tuple[Table, str]]:
    rows = {"generated": found.generated, "real against real": found.floor}
    tables = [(score_table(rows), basis_text(found.basis))]
    if found.near_training is not None:
        tables.append((near_table(found.near_training), f"{NEAR_HELP} {CAUTION}"))
    if found.usefulness:
        text = "Accuracy on held-out real images: the mean of several seeds, and their range."
        tables.append((usefulness_table(found.usefulness), text))
    return tables
