"""A checkpoint by its URI: a run folder (its newest good one) or ``RUN/checkpoints/step-...``."""

import re
from typing import NamedTuple

from job.checkpoints.checkpoints import Checkpoints
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
