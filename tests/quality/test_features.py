"""Extractors: their features, their fingerprints, and what they reject."""

from pathlib import Path

import keras
import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.config.storage import StorageSpec
from job.data.rows import read_rows
from job.quality import features as module
from job.quality.classifier import Classifier, build_classifier, scale
from job.quality.classifier_file import save_classifier
from job.quality.features import open_features
from job.storage.uri import open_store
from tests.quality.pictures import bars, packed_bars
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory):
    return packed_bars(tmp_path_factory.mktemp("features") / "packed", 300)


def mean_model(shape: tuple[int, ...], outputs: int = 4) -> keras.Model:
    images = keras.Input(shape)
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    return keras.Model(images, keras.layers.Dense(outputs, kernel_initializer="ones")(pooled))


def opened(name: str, packed):
    return open_features(name, *packed, StorageSpec())


def test_the_classifiers_are_its_hidden_layer(packed, tmp_path: Path) -> None:
    store, index = packed_bars(tmp_path / "own", 300)
    data = read_rows(store, index, np.arange(300))
    with pytest.raises(DataError, match="expected the classifier of this data set"):
        opened("classifier", (store, index))
    classifier = Classifier(build_classifier((16, 16, 1), 3, 5), "labels", data.class_names, 0.75)
    description = save_classifier(store, index, classifier, 300, 1, 0)
    found = opened("classifier", (store, index))
    assert (found.name, found.fingerprint) == ("classifier", description.fingerprint)
    expected = classifier.model(scale(data.images))[0]
    np.testing.assert_allclose(found.extract(data.images), expected, rtol=1e-4, atol=1e-5)
    of_other = opened(f"classifier:{tmp_path / 'own'}", packed)  # `packed` has none
    assert of_other.fingerprint == description.fingerprint


def test_a_keras_file_gives_its_output_in_blocks(
    packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(module, "_BATCH_SIZE", 7)
    mean_model((None, None, 1)).save(tmp_path / "mean.keras")
    images = bars(40)[0]
    expected = np.repeat(scale(images).mean(axis=(1, 2)), 4, axis=1)
    found = opened(f"file:{tmp_path / 'mean.keras'}", packed)
    np.testing.assert_allclose(found.extract(images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.s3
def test_classifier_and_files_are_read_from_an_object_store(
    packed, tmp_path: Path, s3_env: S3Server
) -> None:
    store, index = packed
    remote = open_store(f"s3://{s3_env.new_bucket()}/bars")
    for entry in store.list():
        remote.write(entry.key, store.read(entry.key))
    classifier = Classifier(build_classifier((16, 16, 1), 3, 5), "labels", ("a", "b", "c"), 0.75)
    description = save_classifier(remote, index, classifier, 300, 1, 0)
    found = open_features("classifier", remote, index, StorageSpec())
    assert found.fingerprint == description.fingerprint
    mean_model((16, 16, 1)).save(tmp_path / "mean.keras")
    remote.write("mean.keras", (tmp_path / "mean.keras").read_bytes())
    local, distant = (
        opened(f"file:{folder}/mean.keras", packed) for folder in (tmp_path, remote.uri)
    )
    assert local.fingerprint == distant.fingerprint


def test_files_of_other_layers_have_another_fingerprint(packed, tmp_path: Path) -> None:
    def fingerprint(name: str, model: keras.Model) -> str:
        model.save(tmp_path / f"{name}.keras")
        return opened(f"file:{tmp_path / name}.keras", packed).fingerprint

    model = mean_model((16, 16, 1))
    first = fingerprint("first", model)
    assert fingerprint("again", model) == first
    activated = keras.Model(model.inputs, keras.layers.ReLU()(model.outputs[0]))
    assert fingerprint("activated", activated) != first


@pytest.mark.live
def test_inception_gets_grey_images_as_three_channels_of_299(packed, tmp_path: Path) -> None:
    """With random weights: the ImageNet ones need a download."""
    keras.utils.set_random_seed(0)
    inception = keras.applications.InceptionV3(
        include_top=False, pooling="avg", weights=None, input_shape=(299, 299, 3)
    )
    inception.save_weights(tmp_path / "random.weights.h5")
    images = bars(2)[0]
    enlarged = keras.ops.image.resize(images.astype(np.float32), (299, 299), "bilinear")
    coloured = np.repeat(np.asarray(enlarged), 3, axis=3)
    expected = inception(keras.applications.inception_v3.preprocess_input(coloured))
    found = opened(f"inception:file://{tmp_path}/random.weights.h5", packed)
    assert found.extract(images).shape == (2, 2048)
    np.testing.assert_allclose(found.extract(images), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("faces", "--features is 'faces'; expected classifier, classifier:DATA"),
        ("file:", "--features is 'file:'"),
        ("file:none.keras", "none.keras: no such file"),
        ("inception:none.h5", "none.h5: no such file"),
        ("file:{folder}/text.keras", "expected a Keras model"),
        ("inception:{folder}/text.weights.h5", "expected a network to download them"),
        ("file:{folder}/rgb.keras", r"takes images \(None, 16, 16, 3\)"),
        ("file:{folder}/maps.keras", r"returns \(None, 16, 16, 1\); expected"),
    ],
)
def test_a_wrong_name_or_file_is_refused(packed, tmp_path: Path, name: str, message: str) -> None:
    for file in ("text.keras", "text.weights.h5"):
        (tmp_path / file).write_text("not a model")
    mean_model((16, 16, 3)).save(tmp_path / "rgb.keras")
    images = keras.Input((16, 16, 1))
    keras.Model(images, keras.layers.ReLU()(images)).save(tmp_path / "maps.keras")
    with pytest.raises(ConfigError, match=message):
        opened(name.format(folder=tmp_path), packed)


def test_the_classifier_of_images_of_another_size_is_refused(packed, tmp_path: Path) -> None:
    store, index = packed
    other = index.__class__(**{**vars(index), "image_shape": (8, 8, 1)})
    with pytest.raises(ConfigError, match=r"takes images \(16, 16, 1\); expected \(8, 8, 1\)"):
        open_features(f"classifier:{store.uri}", store, other, StorageSpec())
