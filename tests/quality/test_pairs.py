"""The picture of pairs: the closest first, the training image below each."""

from pathlib import Path

import numpy as np

from job.data.rows import read_rows
from job.quality.memorization import Nearest
from job.quality.pairs import NUM_PAIRS, pairs_picture
from tests.quality.pictures import bars, packed_bars


def test_the_closest_pairs_are_shown_in_order(tmp_path: Path) -> None:
    store, index = packed_bars(tmp_path / "real", 60)
    training = read_rows(store, index, np.arange(60)).images
    generated = bars(30, seed=1)[0]
    random = np.random.default_rng(0)
    spaces = [
        Nearest(random.integers(0, 60, 30), random.permutation(30).astype(np.float32))
        for _ in range(2)
    ]
    picture = np.asarray(pairs_picture(store, index, generated, spaces))
    side, step = 64, 66  # 16 pixels, four times, and padding of 2
    assert picture.shape == (4 * step + 2, NUM_PAIRS * step + 2)
    for number, found in enumerate(spaces):
        for column, image in enumerate(np.argsort(found.distances)[:NUM_PAIRS]):
            for row, shown in (
                (2 * number, generated[image]),
                (2 * number + 1, training[found.rows[image]]),
            ):
                top, left = 2 + row * step, 2 + column * step
                cell = picture[top : top + side : 4, left : left + side : 4]
                assert np.array_equal(cell, shown[:, :, 0])
