"""Exported files make the images of the generator, in the programs they are for."""

import importlib
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.export.model_file import model_bytes, write_saved_model
from job.synthesis.source import Source
from tests.export.generators import MODELS, Made, made_by_keras, source_of
from tests.servers.tools import ROOT, skip_or_fail

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


@pytest.fixture
def runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the libraries that ``make e2e`` installs beside ``.venv`` importable."""
    folder = ROOT / ".tools" / "export"
    if not (folder / "onnxruntime").is_dir():
        skip_or_fail(".tools/export: not installed; run `make .tools/export/.installed`")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])


@pytest.mark.live
def test_onnx_runtime_makes_the_images(source: Source, made: Made, runtimes: None) -> None:
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(model_bytes(source.generator, "onnx"))
    given = {"latents": made.latents} | ({} if made.labels is None else {"label": made.labels})
    assert {each.name for each in session.get_inputs()} == set(given)
    [images] = session.run(None, given)
    assert np.abs(images - made.images).max() < 1e-4


def test_tensorflow_lite_makes_the_images(source: Source, made: Made) -> None:
    check_litert(tf.lite, source, made)


@pytest.mark.live
def test_litert_makes_the_images(source: Source, made: Made, runtimes: None) -> None:
    check_litert(importlib.import_module("ai_edge_litert.interpreter"), source, made)


def check_litert(library: Any, source: Source, made: Made) -> None:
    interpreter = library.Interpreter(model_content=model_bytes(source.generator, "litert"))
    given = {"latents": made.latents} | ({} if made.labels is None else {"label": made.labels})
    [images] = interpreter.get_signature_runner()(**given).values()
    assert np.abs(images - made.images).max() < 1e-4
