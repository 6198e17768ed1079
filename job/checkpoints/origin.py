"""A checkpoint by its URI: a run folder (its newest good one) or ``RUN/checkpoints/step-...``."""

import re
from typing import NamedTuple

from job.checkpoints.best import best_of
from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.uri import open_store

_CHECKPOINT_URI = re.compile(r"(?P<run>.+)/checkpoints/step-(?P<step>\d+)/?", re.ASCII)


class Origin(NamedTuple):
    """Checkpoints of a run folder; ``step`` is None if the URI names none."""

    checkpoints: Checkpoints
    step: int | None


def open_origin(uri: str, storage: StorageSpec) -> Origin:
    """Return the origin that ``uri`` names, without any request."""
    match = _CHECKPOINT_URI.fullmatch(uri)
    store = open_store(match["run"] if match else uri, storage)
    return Origin(Checkpoints(store), int(match["step"]) if match else None)


def best_uri(uri: str, storage: StorageSpec) -> str:
    """Return the URI of the checkpoint with the best score of the run folder ``uri``.

    Raise ``StorageError`` if the run was not scored, or if that checkpoint is gone.
    """
    checkpoints, _ = open_origin(uri, storage)
    _, newest = next(checkpoints.readable(), (None, None))
    best = best_of(newest.metrics) if newest else None
    if best is None:
        raise StorageError(
            f"{uri}: no checkpoint with a score; expected a run folder that was trained with scores"
            " (dcgan-train quality fit DATA, then train). Leave out --best for the newest"
        )
    if next(checkpoints.readable(best.step), None) is None:
        raise StorageError(
            f"{checkpoints.uri(best.step)}: not found, or not readable; it had the best score."
            " Leave out --best for the newest checkpoint"
        )
    return checkpoints.uri(best.step)
