"""Features of images: the numbers that scores compare, by the chosen extractor.

    classifier        the network that ``dcgan-train quality fit`` trained on this data set
    classifier:DATA   the one that was trained on another data set
    inception         Keras' InceptionV3 with ImageNet weights, which Keras downloads
    inception:URI     the same with weights (without top) from a path, file:// or s3://
    file:URI          any Keras model from images [B, H, W, C] in [-1, 1] to features [B, D]

Scores of different features cannot be compared, so each set of features has a fingerprint.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.data.index import Index, read_index
from job.quality.classifier import scale
from job.quality.classifier_file import load_classifier
from job.quality.fingerprint import fingerprint
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectStore
from job.storage.uri import open_store

INCEPTION_SIDE = 299
MAX_MODEL_BYTES = 8 << 30
EXPECTED = "expected classifier, classifier:DATA, inception, inception:URI or file:URI"
_BATCH_SIZE = 256
_BLOCK_BYTES = 64 << 20  # of float32 images at a time


class Features(NamedTuple):
    """An extractor. ``fingerprint`` is equal only if the features of equal images are."""

    name: str
    fingerprint: str
    model: keras.Model  # images [B, H, W, C] in [-1, 1] to features [B, D]

    def extract(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features ``[N, D]``, float32, of images ``[N, H, W, C]``, uint8."""
        step = max(_BATCH_SIZE, _BLOCK_BYTES // (4 * images[0].size))
        blocks = [
            self.model.predict(scale(images[first : first + step]), _BATCH_SIZE, verbose=0)
            for first in range(0, len(images), step)
        ]
        return np.concatenate(blocks).astype(np.float32)


def open_features(name: str, store: ObjectStore, index: Index, storage: StorageSpec) -> Features:
    """Return the extractor ``name`` for the images of the data set at ``store``.

    Raise ``DataError`` if the data set has no classifier or a damaged one, and ``ConfigError`` for
    another name, for weights that cannot be loaded, or for a model of other images.
    """
    kind, _, uri = name.partition(":")
    if kind == "classifier":
        return _classifier(open_store(uri, storage) if uri else store, index)
    if kind == "inception":
        return _inception(uri, index, storage)
    if kind == "file" and uri:
        return _file(uri, index, storage)
    raise ConfigError(f"--features is {name!r}; {EXPECTED}")


def _classifier(store: ObjectStore, index: Index) -> Features:
    own = read_index(store)
    if own.image_shape != index.image_shape:
        raise ConfigError(
            f"--features: the classifier of {store.uri} takes images {own.image_shape}; expected"
            f" {index.image_shape}. Pack both data sets with the same --size and --channels"
        )
    model, description = load_classifier(store, own)
    return Features(
        "classifier", description.fingerprint, keras.Model(model.inputs, model.outputs[0])
    )


def _inception(uri: str, index: Index, storage: StorageSpec) -> Features:
    """Return InceptionV3's last pooling layer.

    Images are enlarged to 299 x 299 (bilinear), grey ones get three equal channels; Inception takes
    pixels in [-1, 1]. These are Keras' weights, not those of the FID in papers, so its distances
    differ from published ones.
    """
    with _local_copy(uri, storage) if uri else contextlib.nullcontext("imagenet") as weights:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # Keras reports its download
                network = keras.applications.InceptionV3(
                    include_top=False,
                    pooling="avg",
                    weights=str(weights),
                    input_shape=(INCEPTION_SIDE, INCEPTION_SIDE, 3),
                )
        except Exception as error:  # Keras raises a plain one for a failed download
            raise ConfigError(
                f"--features: InceptionV3's weights ({uri or 'imagenet'}) cannot be loaded:"
                f" {error!s:.300}; expected a network to download them, or inception:URI of a file"
                " of weights without top (.h5)"
            ) from None
    images = keras.Input(index.image_shape)
    x = keras.layers.Resizing(INCEPTION_SIDE, INCEPTION_SIDE, "bilinear")(images)
    if index.image_shape[2] == 1:
        x = keras.layers.Concatenate()([x, x, x])
    model = keras.Model(images, network(x))
    return Features("inception", fingerprint("inception-1", network), model)


def _file(uri: str, index: Index, storage: StorageSpec) -> Features:
    with _local_copy(uri, storage) as path:
        try:
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras documents no exceptions
            raise ConfigError(
                f"--features: {uri}: {error!s:.300}; expected a Keras model (.keras) of known"
                " layers"
            ) from None
    inputs, outputs, wanted = model.input_shape, model.output_shape, (None, *index.image_shape)
    fits = len(inputs) == 4 and all(
        side in (None, other) for side, other in zip(inputs, wanted, strict=True)
    )
    if not fits or len(outputs) != 2 or outputs[1] is None:
        raise ConfigError(
            f"--features: {uri} takes images {inputs} and returns {outputs}; expected {wanted} and"
            " (None, D)"
        )
    return Features("file", fingerprint(f"file-1 {model.to_json()}", model), model)


@contextlib.contextmanager
def _local_copy(uri: str, storage: StorageSpec) -> Iterator[Path]:
    """Yield a local path of the file at ``uri``, with its suffix; ``ConfigError`` if missing."""
    folder, _, name = uri.rpartition("/")
    store = open_store(folder or ("/" if uri.startswith("/") else "."), storage)
    if (found := store.stat(name)) is None:
        raise ConfigError(f"--features: {uri}: no such file; {EXPECTED}")
    if (path := store.local_path(name)) is not None:
        yield path
        return
    if found.num_bytes > MAX_MODEL_BYTES:
        raise ConfigError(
            f"--features: {uri} has {found.num_bytes:,} bytes; expected at most {MAX_MODEL_BYTES:,}"
        )
    with scratch_folder() as scratch:
        (scratch / name).write_bytes(store.read(name))
        yield scratch / name
