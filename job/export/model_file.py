"""The generator in the formats of other programs, written by the exporters of Keras.

``keras`` and ``saved-model`` are TensorFlow's, ``onnx`` is for ONNX Runtime and others, ``litert``
(``.tflite``) for phones. Images are float32 ``[B, H, W, C]`` in [-1, 1], as the generator makes
them.
"""

from pathlib import Path

import keras

from job.storage.atomic import whole_folder
from job.storage.os_errors import storage_error
from job.storage.scratch import scratch_folder

SUFFIXES = {"keras": ".keras", "onnx": ".onnx", "litert": ".tflite"}  # Keras demands them


def model_bytes(generator: keras.Model, form: str) -> bytes:
    """Return the file of ``generator``, of dtype float32, in the format ``form`` of SUFFIXES."""
    with scratch_folder() as folder:
        path = folder / f"generator{SUFFIXES[form]}"
        if form == "keras":
            generator.save(path)
        else:
            generator(generator.input)  # Keras 3.15 exports no model to ONNX that was never called
            generator.export(str(path), format=form, verbose=False)
        return path.read_bytes()


def write_saved_model(generator: keras.Model, destination: Path) -> None:
    """Write the folder ``destination``, new or empty, as a SavedModel, whole or not at all."""
    try:
        with whole_folder(destination) as temporary:
            generator.export(temporary, format="tf_saved_model", verbose=False)
    except OSError as error:
        raise storage_error(str(destination), "write", error) from error
