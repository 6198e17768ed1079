"""Load a generator from a checkpoint, or from the newest good checkpoint of a run folder.

The generator is rebuilt from the model in the manifest and filled with the checkpoint's arrays.
``generator.keras`` is for other programs: a Keras file describes layers of any kind and size, so it
is not read here.
"""

import hashlib
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import keras

from job.checkpoints import arrays
from job.checkpoints.manifest import Manifest
from job.checkpoints.origin import open_origin
from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.config.validation import shown
from job.data.index import ImageClass
from job.gan.generator import build_generator
from job.gan.networks import dtype_policy
from job.gan.sizes import generator_sizes
from job.synthesis.plan import BLOCK_IMAGES
from job.training.identity import model_of

WEIGHTS, AVERAGED = "generator.npz", "generator_ema.npz"
AVERAGED_STATISTICS = "generator_ema_statistics.npz"  # of checkpoints since they are averaged
MAX_LAYER_BYTES = 4 << 30  # of one layer's output for a block of images, float32
_MAX_HEADER_BYTES = 64 * 1024  # of a part: everything but the values


class Source(NamedTuple):
    """A generator and where it came from."""

    generator: keras.Model
    uri: str
    step: int
    data_fingerprint: str  # of the images that it was trained on
    fingerprint: str  # SHA-256, in hex, over the hashes of the checkpoint's parts it is made of
    classes: tuple[ImageClass, ...] = ()  # by label, if the generator takes labels


def load_generator(
    uri: str, storage: StorageSpec | None = None, *, policy: str | None = None
) -> Source:
    """Return the generator of ``RUN/checkpoints/step-...`` or a run folder, averaged if it has one.

    ``policy`` is a Keras dtype policy, by default that of the run.
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
        fingerprint = _fingerprint(manifest, parts)
        return Source(
            _rebuild(manifest, parts, policy),
            source,
            manifest.step,
            manifest.data_fingerprint,
            fingerprint,
            manifest.classes,
        )
    except StorageError as error:
        raise StorageError(f"{source}/{error}") from None


def _needed_parts(uri: str, manifest: Manifest) -> list[str]:
    """Return the generator's parts; ``StorageError`` unless they fit the manifest's model."""
    model, _, is_averaged = model_of(manifest, uri)
    sizes = generator_sizes(model, len(manifest.classes))
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
    if is_averaged and AVERAGED_STATISTICS in found:
        needed[AVERAGED_STATISTICS] = sizes.num_statistics
    for name, num_values in needed.items():
        if not 0 <= found.get(name, -1) - 4 * num_values <= _MAX_HEADER_BYTES:
            raise StorageError(
                f"{uri}: step {manifest.step}: {name} has {found.get(name, 0):,} bytes by the "
                f"manifest; expected about {shown(4 * num_values)} for the manifest's model: "
                "use another checkpoint"
            )
    return list(needed)


def _fingerprint(manifest: Manifest, names: Iterable[str]) -> str:
    used = sorted((part.name, part.sha256) for part in manifest.parts if part.name in set(names))
    return hashlib.sha256(repr(used).encode()).hexdigest()


def _rebuild(manifest: Manifest, parts: dict[str, bytes], policy: str | None) -> keras.Model:
    model, precision, _ = model_of(manifest, WEIGHTS)
    generator = build_generator(
        model, 0, num_classes=len(manifest.classes), policy=policy or dtype_policy(precision)
    )
    values = arrays.unpack(parts[WEIGHTS], _expected(generator.variables), WEIGHTS)
    averaged = {
        AVERAGED: generator.trainable_variables,
        AVERAGED_STATISTICS: generator.non_trainable_variables,
    }
    for name, variables in averaged.items():
        if name in parts:
            values |= arrays.unpack(parts[name], _expected(variables), name)
    for variable in generator.variables:
        variable.assign(values[variable.path])
    return generator


def _expected(variables: list[keras.Variable]) -> arrays.Expected:
    return {variable.path: (tuple(variable.shape), variable.dtype) for variable in variables}
