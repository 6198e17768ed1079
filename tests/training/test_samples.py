"""Grids of a run: their latents and classes, and the GIF, an even choice of many grids."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.images.grids import png_bytes
from job.run.layout import GRIDS, PROGRESS, grid_key
from job.storage.uri import open_store
from job.training.samples import MAX_FRAMES, MAX_GRID_CLASSES, grid_inputs, save_progress
from tests.checkpoints.saves import counting
from tests.training.alone import spec_of

pytestmark = pytest.mark.training


def test_only_the_grids_that_the_gif_shows_are_read(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for step in range(250):
        store.write(grid_key(step), png_bytes(Image.fromarray(np.full((30, 60), step, np.uint8))))
    counted = counting(store)
    save_progress(counted)
    read = [key for name, key in counted.asked if name == "read"]
    assert len(read) == MAX_FRAMES == 100
    assert (read[0], read[1], read[-1]) == (grid_key(0), grid_key(3), grid_key(249))
    assert counted.requests == 1 + MAX_FRAMES + 1  # the listing and the GIF
    assert ("list", GRIDS) in counted.asked
    with Image.open(io.BytesIO(store.read(PROGRESS))) as gif:
        assert gif.n_frames == MAX_FRAMES
        gif.seek(MAX_FRAMES - 1)
        assert int(np.asarray(gif.convert("L"))[0, 0]) == 249


def test_the_grid_of_a_conditional_model_has_a_row_a_class_and_one_latent_a_column(
    tmp_path: Path,
) -> None:
    spec = spec_of(tmp_path, samples__rows=2, samples__columns=3)
    plain = np.asarray(grid_inputs(spec, 0))
    assert len(np.unique(plain, axis=0)) == len(plain) == 6
    latents, labels = grid_inputs(spec, 4)
    assert np.reshape(labels, [4, 3]).tolist() == [[row] * 3 for row in range(4)]
    assert np.array_equal(np.reshape(latents, [4, 3, -1]), [plain[:3]] * 4)
    assert len(grid_inputs(spec, 100)[0]) == 3 * MAX_GRID_CLASSES
