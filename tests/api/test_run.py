"""A run from Python: errors before anything starts; the examples and the notebook train.

Their code is as it is in the repository; the environment makes the runs short.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.api import ConfigError, Run, train
from job.checkpoints.checkpoints import Checkpoints
from job.storage.uri import open_store
from tests.data.samples import keras_fashion_mnist
from tests.launch.fixtures import ray_folder
from tests.launch.program import environment
from tests.quality.pictures import bars
from tests.report.runs import done_run

__all__ = ["ray_folder"]

ROOT = Path(__file__).parents[2]


def test_settings_are_checked(tmp_path: Path) -> None:
    settings = {"uri": str(tmp_path / "run"), "data.uri": str(tmp_path / "none")}
    with pytest.raises(ConfigError, match=r"training\.step\b.*did you mean"):
        train(preset="fashion", settings={**settings, "training.step": 3})
    with pytest.raises(ConfigError, match=r"workers\.count is 0"):
        train(preset="fashion", settings={**settings, "workers.count": 0})
    with pytest.raises(ConfigError, match=r"for example --set uri=\./runs/first"):
        train()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_status_and_metrics_of_a_run_folder(tmp_path: Path) -> None:
    done_run(open_store(str(tmp_path / "run")))
    run = Run(str(tmp_path / "run"))
    assert run.status().state == "done"
    rows = run.metrics()
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert rows[-1]["dcgan_discriminator_loss"] > 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the examples; Keras' data folder in it has 4,000 images."""
    folder = tmp_path_factory.mktemp("examples")
    keras_fashion_mnist(folder / "keras", 4000)
    return folder


def example(folder: Path, ray_folder: Path, *command: str) -> str:
    """Run a program in ``folder``; its output."""
    short = {"DCGAN_SET_TRAINING__STEPS": "20", "DCGAN_SET_WORKERS__COUNT": "1"}
    env = environment(ray_folder, PYTHONPATH=str(ROOT), KERAS_HOME=str(folder / "keras"), **short)
    result = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=800
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.live
@pytest.mark.cluster
@pytest.mark.training
@pytest.mark.timeout(900)
class TestExamples:
    def test_train_and_sample(self, folder: Path, ray_folder: Path) -> None:
        images, _ = bars(64)
        (folder / "my-images").mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image[..., 0]).save(folder / f"my-images/{number}.png")
        output = example(
            folder, ray_folder, str(ROOT / "examples/train_and_sample.py"), "my-images", "28"
        )
        assert "64 images of (28, 28, 1)" in output
        assert "done at step 20" in output
        assert np.asarray(Image.open(folder / "grid.png")).shape == (112, 112)

    def test_classes(self, folder: Path, ray_folder: Path) -> None:
        output = example(folder, ray_folder, str(ROOT / "examples/classes.py"))
        assert "'sandal': 50" in output
        assert "'bag': 50" in output
        labels = np.load(folder / "synthetic.npz")["labels"]
        assert np.bincount(labels).tolist() == [100] * 10

    def test_watch_and_evaluate(self, folder: Path, ray_folder: Path) -> None:
        output = example(folder, ray_folder, str(ROOT / "examples/watch_and_evaluate.py"))
        assert "step 100: D loss" in output
        assert "step 200: D loss" in output
        assert "Frechet distance" in output
        steps = [
            found.step
            for found in Checkpoints(open_store(str(folder / "runs/watched"))).committed()
        ]
        assert max(steps) == 200

    def test_the_notebook(self, folder: Path, ray_folder: Path) -> None:
        cells = json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        assert sum(bool(line.strip()) for cell in code for line in cell.splitlines()) < 40
        shown = "def display(image): print('shown', image.size)"
        output = example(folder, ray_folder, "-c", "\n".join([shown, *code]))
        assert "shown (224, 28)\nshown (420, 420)\n" in output
        assert "    20  D " in output
