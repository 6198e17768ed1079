"""The classifier of ``dcgan-train quality fit``, kept beside the shards of its data set.

    DATA/quality/classifier.keras   the network; plain Keras loads it; outputs: features, logits
    DATA/quality/classifier.json    its description, written last

The network is rebuilt from the description, and only weights are read from the ``.keras`` file: a
Keras file from anyone could describe layers of any kind and size.
"""

import dataclasses
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
from pydantic import StrictFloat

from job.config.errors import DataError
from job.data.index import Index
from job.data.json_fields import (
    Items,
    Sha256,
    Text,
    Whole,
    WrongField,
    parse_object,
    validate_fields,
)
from job.quality.classifier import Classifier, Task, build_classifier
from job.quality.fingerprint import fingerprint
from job.quality.keys import CLASSIFIER as DESCRIPTION
from job.quality.keys import CLASSIFIER_NETWORK as NETWORK
from job.storage.scratch import scratch_folder
from job.storage.store import ObjectMissing, ObjectStore

FORMAT_VERSION = 1
KIND = "classifier-1"  # another number: another network for the same weights
MAX_DESCRIPTION_BYTES, MAX_NETWORK_BYTES = 16 << 20, 1 << 30
_MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Description:
    """Facts about a classifier; ``accuracy`` is that on a held-out tenth of the images."""

    task: Task
    class_names: Items[Text]
    accuracy: StrictFloat
    num_images: Annotated[int, Whole(1)]
    epochs: Annotated[int, Whole(1)]
    seed: Annotated[int, Whole()]
    fingerprint: Sha256  # of the features
    data_fingerprint: Sha256
    sha256: Sha256  # of the ``.keras`` file


def save_classifier(
    store: ObjectStore,
    index: Index,
    classifier: Classifier,
    num_images: int,
    epochs: int,
    seed: int,
) -> Description:
    """Write the classifier beside the data set at ``store`` and return its description."""
    with scratch_folder() as folder:
        path = folder / "classifier.keras"
        classifier.model.save(path)
        data = path.read_bytes()
    description = Description(
        classifier.task,
        classifier.class_names,
        classifier.accuracy,
        num_images,
        epochs,
        seed,
        fingerprint(KIND, classifier.model),
        index.fingerprint,
        hashlib.sha256(data).hexdigest(),
    )
    fields = {"format_version": FORMAT_VERSION, **dataclasses.asdict(description)}
    store.delete(DESCRIPTION)  # of an earlier one: it must never describe the new network
    store.write(NETWORK, data)
    store.write(DESCRIPTION, (json.dumps(fields, indent=2) + "\n").encode())
    return description


def load_classifier(store: ObjectStore, index: Index) -> tuple[keras.Model, Description]:
    """Return the classifier beside the data set at ``store``, with two outputs, and its facts.

    Raise ``DataError`` if there is none, or if it is damaged.
    """
    uri = store.uri.rstrip("/")
    remedy = f"Run `dcgan-train quality fit {uri}`"
    try:
        description = _described(store.read_range(DESCRIPTION, 0, MAX_DESCRIPTION_BYTES + 1))
        data = store.read_range(NETWORK, 0, MAX_NETWORK_BYTES + 1)
    except ObjectMissing:
        raise DataError(
            f"{uri}/{DESCRIPTION}: not found; expected the classifier of this data set. {remedy}"
        ) from None
    except WrongField as error:
        raise DataError(f"{uri}/{DESCRIPTION}: {error}. {remedy}") from None
    if hashlib.sha256(data).hexdigest() != description.sha256:
        raise DataError(
            f"{uri}/{NETWORK}: has another SHA-256; expected {description.sha256}. {remedy}"
        )
    model = build_classifier(index.image_shape, len(description.class_names), 0)
    with scratch_folder() as folder:
        path = folder / "classifier.keras"
        path.write_bytes(data)
        try:
            _check_unpacked_size(path)
            model.load_weights(path)
        except Exception as error:  # Keras and h5py document no exceptions
            raise DataError(
                f"{uri}/{NETWORK}: {error!s:.200}; expected the weights of a classifier of"
                f" {'x'.join(map(str, index.image_shape))} images. {remedy}"
            ) from None
    if fingerprint(KIND, model) != description.fingerprint:
        raise DataError(
            f"{uri}/{NETWORK}: the weights have another fingerprint; expected"
            f" {description.fingerprint}. {remedy}"
        )
    return model, description


def _check_unpacked_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        num_bytes = sum(entry.file_size for entry in archive.infolist())
    if num_bytes > MAX_NETWORK_BYTES:
        raise ValueError(f"has {num_bytes:,} bytes unpacked, more than {MAX_NETWORK_BYTES:,}")


def _described(data: bytes) -> Description:
    fields = parse_object(data, MAX_DESCRIPTION_BYTES, FORMAT_VERSION)
    description = validate_fields(Description, fields)
    if not 2 <= len(description.class_names) <= _MAX_CLASSES:
        raise WrongField(
            f"class_names has {len(description.class_names):,} entries; expected 2 to"
            f" {_MAX_CLASSES:,}"
        )
    return description
