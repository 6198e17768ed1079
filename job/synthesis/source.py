"""Which generator to sample from: a checkpoint's URI, or a run folder's, which stands for its newest good checkpoint."""

from typing import NamedTuple

import keras

from job.checkpoints.origin import open_origin
from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.scratch import scratch_folder

PART = "generator.keras"


class Source(NamedTuple):
    """A generator and where it came from."""

    generator: keras.Model
    uri: str
    step: int


def load_generator(uri: str, storage: StorageSpec | None = None) -> Source:
    """``generator.keras`` of ``RUN/checkpoints/step-...`` or of a run folder, its hash checked; ``StorageError`` where there is none."""
    checkpoints, step = open_origin(uri, storage or StorageSpec())
    found = checkpoints.restore(step, lambda manifest: [PART])
    if found is None or PART not in found[1]:
        raise StorageError(
            f"{uri}: no committed checkpoint here; expected a run folder or RUN/checkpoints/step-... (dcgan-train checkpoints list RUN)"
        )
    manifest, parts = found
    with scratch_folder() as folder:
        path = folder / PART
        path.write_bytes(parts[PART])
        return Source(keras.models.load_model(path, compile=False), checkpoints.uri(manifest.step), manifest.step)
