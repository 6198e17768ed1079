"""The classifier beside its data set: read back bit for bit, or rejected."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from job.config.errors import DataError
from job.data.rows import read_rows
from job.quality.classifier import Classifier, build_classifier, scale
from job.quality.classifier_file import DESCRIPTION, NETWORK, load_classifier, save_classifier
from tests.quality.pictures import packed_bars

pytestmark = pytest.mark.training


@pytest.fixture
def saved(tmp_path: Path):
    store, index = packed_bars(tmp_path / "packed", 300)
    data = read_rows(store, index, np.arange(300))
    classifier = Classifier(build_classifier((16, 16, 1), 3, 5), "labels", data.class_names, 0.75)
    description = save_classifier(store, index, classifier, 300, 1, 0)
    return store, index, classifier, description, scale(data.images[:20])


def test_it_is_read_back_and_loads_with_plain_keras(saved, tmp_path: Path) -> None:
    store, index, classifier, description, images = saved
    expected = [np.asarray(output) for output in classifier.model(images)]
    loaded, facts = load_classifier(store, index)
    plain = keras.models.load_model(tmp_path / "packed" / NETWORK, compile=False)
    for model in (loaded, plain):
        for found, output in zip(model(images), expected, strict=True):
            assert np.array_equal(found, output)
    assert facts == description
    assert (facts.task, facts.class_names, facts.num_images) == ("labels", ("0", "1", "2"), 300)
    assert facts.accuracy == 0.75
    assert facts.data_fingerprint == index.fingerprint


def edited(**changes: object):
    def edit(store) -> None:
        fields = json.loads(store.read(DESCRIPTION)) | changes
        store.write(DESCRIPTION, json.dumps(fields).encode())

    return edit


def bomb(store) -> None:
    """Replace the network by an archive of 1.1 GB of zeros in a few MB."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("model.weights.h5", "w", force_zip64=True) as entry,
    ):
        for _ in range(17):
            entry.write(bytes(64 << 20))
    store.write(NETWORK, buffer.getvalue())
    edited(sha256=hashlib.sha256(buffer.getvalue()).hexdigest())(store)


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # of Keras, before its error
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda store: store.delete(DESCRIPTION), "not found; expected the classifier of this"),
        (lambda store: store.delete(NETWORK), "not found; expected the classifier of this"),
        (lambda store: store.write(NETWORK, b"PK"), "another SHA-256"),
        (lambda store: store.write(DESCRIPTION, b"{"), "is not JSON"),
        (edited(format_version=2), "format_version is 2"),
        (edited(task="faces"), "task is 'faces'; expected one of labels, rotations"),
        (edited(class_names=["a"]), "class_names has 1 entries; expected 2 to"),
        (edited(class_names=list("abcd")), "expected the weights of a classifier of 16x16x1"),
        (bomb, "has 1,140,850,688 bytes unpacked, more than 1,073,741,824"),
        (edited(fingerprint="0" * 64), "another fingerprint; expected 0000"),
    ],
)
def test_a_damaged_one_is_refused_with_the_remedy(saved, damage, message: str) -> None:
    store, index, *_ = saved
    damage(store)
    with pytest.raises(DataError, match=message) as error:
        load_classifier(store, index)
    assert "Run `dcgan-train quality fit" in str(error.value)
