"""A checkpoint by its URI: a run folder, which stands for its newest good one, or ``RUN/checkpoints/step-...``."""

import re
from typing import NamedTuple

from job.checkpoints.checkpoints import Checkpoints
from job.config.storage import StorageSpec
from job.storage.uri import open_store

_CHECKPOINT_URI = re.compile(r"(?P<run>.+)/checkpoints/step-(?P<step>\d+)/?", re.ASCII)


class Origin(NamedTuple):
    """Checkpoints of a run folder; ``step`` is None where no one of them was named."""

    checkpoints: Checkpoints
    step: int | None


def open_origin(uri: str, storage: StorageSpec) -> Origin:
    """What ``uri`` names; contacts nothing."""
    match = _CHECKPOINT_URI.fullmatch(uri)
    store = open_store(match["run"] if match else uri, storage)
    return Origin(Checkpoints(store), int(match["step"]) if match else None)
