"""Samples from Python are those of `generate`, by seed and index."""

from pathlib import Path

import numpy as np
import pytest

from job.api import ConfigError, StorageError, load_generator
from job.cli.main import run_command

pytestmark = pytest.mark.training


def committed(folder: Path, *overrides: str) -> str:
    from tests.synthesis.runs import save_run, spec_of  # loads TensorFlow

    save_run(folder, spec_of("notebook", *overrides), 10)
    return str(folder)


def test_the_images_of_generate(tmp_path: Path) -> None:
    run, out = committed(tmp_path / "run"), tmp_path / "images.npz"
    generator = load_generator(run)
    command = ["generate", run, "--format", "npz", "--num", "70", "--start", "60"]
    assert run_command([*command, "--seed", "4", "--out", str(out)]) == 0
    sample = generator.sample(70, seed=4, start=60)
    np.testing.assert_array_equal(sample.images, np.load(out)["images"])
    assert (sample.labels, sample.class_names) == (None, ())
    assert (generator.step, generator.uri) == (10, f"file://{run}/checkpoints/step-000000010")
    assert generator.model.output_shape == (None, 28, 28, 1)
    for options in ({"num_images": 0}, {"seed": -1}, {"start": -1}, {"truncation": 0}):
        with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
            generator.sample(**({"num_images": 1} | options))


def test_classes(tmp_path: Path) -> None:
    generator = load_generator(committed(tmp_path / "run", "model.conditional=true"))
    assert generator.class_names == ("cat", "dog", "owl")
    owls = generator.sample(3, classes=["owl"])
    assert owls.labels is not None
    assert owls.labels.tolist() == [2, 2, 2]
    assert generator.sample(6, balanced=True).labels.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ConfigError, match=r"^classes is dogs; .* did you mean dog"):
        generator.sample(1, classes=["dogs"])


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no committed checkpoint here"):
        load_generator(str(tmp_path / "none"))
    with pytest.raises(StorageError, match=r"no checkpoint with a score.* Leave out best for"):
        load_generator(committed(tmp_path / "run"), best=True)
