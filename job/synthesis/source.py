"""Which generator to sample from: a checkpoint's URI, or a run folder's, which stands for its newest good checkpoint."""

import os
import re
from typing import NamedTuple

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.scratch import scratch_folder
from job.storage.uri import open_store
from job.training.checkpoint import Checkpoints

CHECKPOINT_URI = re.compile(r"(?P<run>.+)/checkpoints/step-(?P<step>\d+)/?")
PART = "generator.keras"


class Source(NamedTuple):
    """A generator and where it came from."""

    generator: keras.Model
    uri: str
    step: int


def load_generator(uri: str, storage: StorageSpec | None = None) -> Source:
    """``generator.keras`` of ``RUN/checkpoints/step-...`` or of a run folder, its hash checked; ``StorageError`` where there is none."""
    match = CHECKPOINT_URI.fullmatch(uri)
    checkpoints = Checkpoints(open_store(match["run"] if match else uri, storage))
    found = checkpoints.restore(int(match["step"]) if match else None, only=PART)
    if found is None or PART not in found[1]:
        raise StorageError(
            f"{uri}: no committed checkpoint here; expected a run folder or RUN/checkpoints/step-... (dcgan-train checkpoints list RUN)"
        )
    manifest, parts = found
    with scratch_folder() as folder:
        path = folder / PART
        path.write_bytes(parts[PART])
        return Source(keras.models.load_model(path, compile=False), checkpoints.uri(manifest), manifest.step)
