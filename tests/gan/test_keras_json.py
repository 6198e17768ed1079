"""Keras' own settings file changes nothing in a run, and no run writes one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import hashlib, sys
import numpy as np
from job.config.load import load_run
from job.gan.networks import build_networks
import keras
filters = ["model.generator.filters=[8, 4]", "model.discriminator.filters=[4, 8]"]
spec = load_run("fashion", overrides=["uri=a", "data.uri=b", *filters])
networks = build_networks(spec)
noise = np.ones((2, networks.generator.input_shape[-1]), np.float32)
images = networks.generator(noise, training=True)
arrays = [images, *networks.generator.variables, *networks.discriminator.variables]
digest = hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()
print(images.dtype.name, images.shape, keras.config.epsilon(), keras.config.backend(), digest)
"""
OTHER = json.dumps(
    {
        "floatx": "float16",
        "image_data_format": "channels_first",
        "epsilon": 0.1,
        "backend": "tensorflow",
    }
)


@pytest.mark.live
@pytest.mark.training
def test_keras_json_changes_nothing(tmp_path: Path) -> None:
    """It is not read, be it valid or broken, and not written if there is none."""
    cases = {"plain": None, "other": OTHER, "broken": json.dumps({"floatx": "bfloat16"})}
    running = {}
    for name, text in cases.items():
        home = tmp_path / name
        home.mkdir()
        if text is not None:
            (home / ".keras").mkdir()
            (home / ".keras" / "keras.json").write_text(text)
        env = {key: value for key, value in os.environ.items() if not key.startswith("KERAS_")} | {
            "HOME": str(home)
        }
        if name == "other":
            env["KERAS_BACKEND"] = "jax"
        command = [sys.executable, "-c", SCRIPT, name]
        running[name] = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    printed = {}
    for name, process in running.items():
        out, err = process.communicate(timeout=280)
        assert process.returncode == 0, err
        printed[name] = out
    assert printed["plain"].startswith("float32 (2, 28, 28, 1) 1e-07 tensorflow ")
    assert set(printed.values()) == {printed["plain"]}
    assert not (tmp_path / "plain" / ".keras").exists()
