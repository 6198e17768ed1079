"""Exported files make the images of the generator, in the programs they are for."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.config.errors import StorageError
from job.export.model_file import model_bytes, write_saved_model
from job.synthesis.source import Source
from tests.export.generators import MODELS, Made, made_by_keras, source_of

pytestmark = [pytest.mark.training, pytest.mark.slow]


@pytest.fixture(scope="module", params=["transposed", "subpixel of 3 classes"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    assert request.param in MODELS
    return source_of(tmp_path_factory.mktemp("source"), request.param)


@pytest.fixture(scope="module")
def made(source: Source) -> Made:
    return made_by_keras(source.generator, len(source.classes))


def test_keras_loads_the_file(source: Source, made: Made, tmp_path: Path) -> None:
    path = tmp_path / "generator.keras"
    path.write_bytes(model_bytes(source.generator, "keras"))
    inputs = made.latents if made.labels is None else [made.latents, made.labels]
    images = keras.models.load_model(path, compile=False)(inputs, training=False)
    assert np.array_equal(images, made.images)


def test_tensorflow_loads_the_folder(source: Source, made: Made, tmp_path: Path) -> None:
    write_saved_model(source.generator, tmp_path / "new" / "model")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    loaded = tf.saved_model.load(tmp_path / "new" / "model")
    inputs = made.latents if made.labels is None else [made.latents, made.labels]
    assert np.abs(loaded.serve(inputs) - made.images).max() < 1e-5


def test_onnx_runtime_makes_the_images(source: Source, made: Made) -> None:
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model_bytes(source.generator, "onnx"))
    given = {"latents": made.latents} | ({} if made.labels is None else {"label": made.labels})
    assert {each.name for each in session.get_inputs()} == set(given)
    [images] = session.run(None, given)
    assert np.abs(images - made.images).max() < 1e-4


@pytest.mark.parametrize("runtime", ["tensorflow", "ai_edge_litert.interpreter"])
def test_litert_makes_the_images(source: Source, made: Made, runtime: str) -> None:
    library = pytest.importorskip(runtime)
    interpreter = (library.lite if runtime == "tensorflow" else library).Interpreter(
        model_content=model_bytes(source.generator, "litert")
    )
    given = {"latents": made.latents} | ({} if made.labels is None else {"label": made.labels})
    [images] = interpreter.get_signature_runner()(**given).values()
    assert np.abs(images - made.images).max() < 1e-4


def test_a_folder_that_cannot_be_written_is_an_error(source: Source, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept").touch()
    with pytest.raises(StorageError, match="model: cannot write"):
        write_saved_model(source.generator, tmp_path / "model")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "kept"]
