"""``dcgan-train demo`` on somebody's own images: what it leaves, what it prints, and that a second start has nothing to do."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.launch.program import environment, run

pytestmark = [pytest.mark.cluster, pytest.mark.training]


def test_the_demo_trains_on_a_folder_of_pictures(tmp_path: Path, ray_folder: Path) -> None:
    pictures = tmp_path / "my pictures 😀"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for number in range(80):
        Image.fromarray(random.integers(0, 256, (40, 32, 3), np.uint8)).save(pictures / f"{number}.png")
    command = ["demo", "--data", str(pictures), "--folder", str(tmp_path / "demo ü"), "--steps", "12"]
    code, output = run(command, tmp_path / "first.log", environment(ray_folder))
    assert code == 0, output
    assert "80 images, 1 shard\n" in output
    assert "80 images 28x28x3, 12 steps of 64 on 2 workers (CPU), from the start" in output
    grid = re.search(r"^sample grid: +(.+)$", output, re.MULTILINE)
    assert grid, output
    assert Image.open(grid[1]).mode == "RGB"
    started = time.monotonic()
    code, again = run(command, tmp_path / "second.log", environment(ray_folder))
    assert code == 0, again
    assert "already done (step 12)" in again
    assert grid[0] in again
    assert time.monotonic() - started < 10


def test_too_few_pictures_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((10, 28, 28), np.uint8))
    command = ["demo", "--data", str(tmp_path / "images.npy"), "--folder", str(tmp_path / "demo")]
    code, output = run(command, tmp_path / "log", environment(tmp_path))
    assert code == 5
    assert f"error: {tmp_path}/images.npy: 10 images; the demo needs at least 64" in output
