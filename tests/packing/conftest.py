"""Fixtures: images to pack."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.samples import numbered


@pytest.fixture
def images_file(tmp_path: Path) -> Path:
    """3,000 images that differ, with labels, as .npz."""
    path = tmp_path / "images.npz"
    np.savez(path, x=numbered(3000), y=np.arange(3000) % 5)
    return path
