"""Packing from Python: the same data set as `data pack`, and errors instead of exit codes."""

from pathlib import Path

import numpy as np
import pytest

from job.api import ConfigError, DataError, open_packed, pack
from job.cli.main import run_command
from tests.quality.pictures import bars


@pytest.fixture
def source(tmp_path: Path) -> str:
    images, labels = bars(60)
    np.savez(tmp_path / "bars.npz", images=images, labels=labels)
    return str(tmp_path / "bars.npz")


def test_the_same_images_as_the_command(source: str, tmp_path: Path) -> None:
    packed = pack(source, str(tmp_path / "packed"), size=(8, 12), channels=3, limit=50, seed=3)
    command = ["data", "pack", source, str(tmp_path / "command"), "--size", "8x12"]
    assert run_command([*command, "--channels", "3", "--limit", "50", "--seed", "3"]) == 0
    assert packed.index.fingerprint == open_packed(str(tmp_path / "command")).index.fingerprint
    first = packed.read(0, 7)
    assert (first.images.shape, first.images.dtype) == ((7, 8, 12, 3), np.uint8)
    assert first.class_names == ("0", "1", "2")


def test_again_it_is_opened(source: str, tmp_path: Path) -> None:
    first = pack(source, str(tmp_path / "packed"))
    again = pack(source, str(tmp_path / "packed"))
    assert again.index == first.index
    with pytest.raises(ConfigError, match="not 8x8; choose another destination"):
        pack(source, str(tmp_path / "packed"), size=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "squeeze"}, "fit is 'squeeze'; expected one of 'crop', 'pad', 'stretch', 'exact'"),
        ({"channels": 4}, "channels is 4; expected one of None, 1, 3"),
        ({"size": (8, 0)}, "size is 0; expected a whole number, 1 to 4,096"),
        ({"size": 5000}, "size is 5000; expected"),
        ({"size": (8, 12, 3)}, r"size is \(8, 12, 3\); expected one side or \(height, width\)"),
        ({"size": "28"}, "size is '28'; expected"),
        ({"limit": 0}, "limit is 0; expected a whole number, at least 1"),
        ({"seed": -1}, "seed is -1; expected"),
        ({"split": "all"}, "split is 'all'; expected"),
    ],
)
def test_wrong_options(source: str, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pack(source, str(tmp_path / "packed"), **options)
    assert not (tmp_path / "packed").exists()


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pack(str(tmp_path / "none"), str(tmp_path / "packed"))
    assert caught.value.exit_code == 5
