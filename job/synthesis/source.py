"""Load a generator from a checkpoint, or from the newest good checkpoint of a run folder.

The generator is rebuilt from the model in the manifest and filled with the checkpoint's arrays.
``generator.keras`` is for other programs: a Keras file describes layers of any kind and size, so it
is not read here.
"""

from functools import partial
from typing import NamedTuple

import keras

from job.checkpoints import arrays
from job.checkpoints.manifest import Manifest
from job.checkpoints.origin import open_origin
from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.config.validation import shown
from job.gan.generator import build_generator, generator_sizes
from job.gan.networks import dtype_policy
from job.synthesis.images import BLOCK_IMAGES
from job.training.identity import model_of

WEIGHTS, AVERAGED = "generator.npz", "generator_ema.npz"
MAX_LAYER_BYTES = 4 << 30  # of one layer's output for a block of images, float32
_MAX_HEADER_BYTES = 64 * 1024  # of a part: everything but the values


class Source(NamedTuple):
    """A generator and where it came from."""

    generator: keras.Model
    uri: str
    step: int


def load_generator(uri: str, storage: StorageSpec | None = None) -> Source:
    """Return the generator of ``RUN/checkpoints/step-...`` or a run folder, averaged if it has one.

    ``StorageError`` if there is none, or if the checkpoint is not one of such a generator: before
    anything of its size is read or built.
    """
    checkpoints, step = open_origin(uri, storage or StorageSpec())
    found = checkpoints.restore(step, partial(_needed_parts, uri))
    if found is None:
        raise StorageError(
            f"{uri}: no committed checkpoint here; expected a run folder or "
            "RUN/checkpoints/step-... (dcgan-train checkpoints list RUN)"
        )
    manifest, parts = found
    source = checkpoints.uri(manifest.step)
    try:
        return Source(_rebuild(manifest, parts), source, manifest.step)
    except StorageError as error:
        raise StorageError(f"{source}/{error}") from None


def _needed_parts(uri: str, manifest: Manifest) -> list[str]:
    """Return the generator's parts; ``StorageError`` unless they fit the manifest's model."""
    model, _, is_averaged = model_of(manifest, uri)
    sizes = generator_sizes(model)
    if 4 * BLOCK_IMAGES * sizes.largest_output > MAX_LAYER_BYTES:
        raise StorageError(
            f"{uri}: step {manifest.step}: the manifest's model has a layer of "
            f"{shown(sizes.largest_output)} numbers for one image; expected at most "
            f"{MAX_LAYER_BYTES // (4 * BLOCK_IMAGES):,}: use another checkpoint"
        )
    needed = {WEIGHTS: sizes.num_trainable + sizes.num_statistics}
    if is_averaged:
        needed[AVERAGED] = sizes.num_trainable
    found = {part.name: part.num_bytes for part in manifest.parts}
    for name, num_values in needed.items():
        if not 0 <= found.get(name, -1) - 4 * num_values <= _MAX_HEADER_BYTES:
            raise StorageError(
                f"{uri}: step {manifest.step}: {name} has {found.get(name, 0):,} bytes by the "
                f"manifest; expected about {shown(4 * num_values)} for the manifest's model: "
                "use another checkpoint"
            )
    return list(needed)


def _rebuild(manifest: Manifest, parts: dict[str, bytes]) -> keras.Model:
    model, precision, is_averaged = model_of(manifest, WEIGHTS)
    generator = build_generator(model, 0, policy=dtype_policy(precision))
    values = arrays.unpack(parts[WEIGHTS], _expected(generator.variables), WEIGHTS)
    if is_averaged:  # the moving statistics are those of the trained one
        values |= arrays.unpack(parts[AVERAGED], _expected(generator.trainable_variables), AVERAGED)
    for variable in generator.variables:
        variable.assign(values[variable.path])
    return generator


def _expected(variables: list[keras.Variable]) -> arrays.Expected:
    return {variable.path: (tuple(variable.shape), variable.dtype) for variable in variables}
