"""Small images with classes that a network learns in seconds, packed."""

from pathlib import Path

import numpy as np

from job.data.index import Index, PackSettings, read_index
from job.packing.pack import PackJob, pack
from job.storage.store import ObjectStore
from job.storage.uri import open_store


def bars(num_images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy 16x16 images with a bright bar at the top, left or middle: classes 0 to 2."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 120, (num_images, 16, 16, 1), np.uint8)
    labels = random.integers(0, 3, num_images)
    for image, label in zip(images, labels, strict=True):
        place = [np.s_[1:5], np.s_[:, 1:5], np.s_[6:10, 6:10]][label]
        image[place] += np.uint8(130)
    return images, labels


def packed_bars(
    folder: Path, num_images: int, seed: int = 0, has_labels: bool = True
) -> tuple[ObjectStore, Index]:
    """Pack ``bars`` at ``folder``."""
    images, labels = bars(num_images, seed)
    arrays = {"images": images} | ({"labels": labels} if has_labels else {})
    source = folder.with_suffix(".npz")
    np.savez(source, **arrays)
    pack(PackJob(str(source), str(folder), PackSettings()))
    store = open_store(str(folder))
    return store, read_index(store)
