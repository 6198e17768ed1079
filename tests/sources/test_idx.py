"""IDX files: found by name or content, with labels; broken ones are named."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.sources.open_source import open_source
from tests.data.samples import (
    idx,
    numbered,
    write_folder,
)
from tests.sources.reading import arrays_of, read_all


def test_idx_with_labels(tmp_path: Path) -> None:
    images, labels = numbered(5000, 7, 5)[..., 0], (np.arange(5000) % 10).astype(np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), 1))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images[:9]))
    for uri in (tmp_path, tmp_path / "train-images-idx3-ubyte.gz"):
        source = open_source(str(uri))
        assert (source.kind, source.num_images) == ("idx", 5000)
        found_images, found_labels = arrays_of(source)
        assert np.array_equal(found_images[..., 0], images)
        assert np.array_equal(found_labels, labels)
    found_images, found_labels = arrays_of(open_source(str(tmp_path), split="test"))
    assert np.array_equal(found_images[..., 0], images[:9])
    assert found_labels is None


def test_idx_without_the_split_asked_for(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(numbered(3)[..., 0]))
    with pytest.raises(
        ConfigError, match="holds no IDX images of --split test; found train-images-idx3-ubyte"
    ):
        open_source(str(tmp_path), split="test")


@pytest.mark.parametrize("prefix", ["emnist-letters-", "qmnist-", ""])
def test_idx_by_the_names_of_emnist(tmp_path: Path, prefix: str) -> None:
    images = numbered(6, 7, 5)[..., 0]
    for split, end in (("train", 5), ("test", 3)):
        (tmp_path / f"{prefix}{split}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx(images[:end]))
        )
        (tmp_path / f"{prefix}{split}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx(np.arange(end, dtype=np.uint8)))
        )
    (tmp_path / f"{prefix}mapping.txt").write_text("0 48\n")
    (tmp_path / f"._{prefix}train-images-idx3-ubyte.gz").write_bytes(b"AppleDouble")
    for split, end in (("train", 5), ("test", 3)):
        found_images, found_labels = arrays_of(open_source(str(tmp_path), split=split))
        assert np.array_equal(found_images[..., 0], images[:end])
        assert np.array_equal(found_labels, np.arange(end))


def test_a_folder_of_several_idx_sets_asks_for_one(tmp_path: Path) -> None:
    for name in ("letters", "digits"):
        (tmp_path / f"emnist-{name}-train-images-idx3-ubyte").write_bytes(idx(numbered(3)[..., 0]))
    with pytest.raises(
        ConfigError,
        match="holds IDX images of emnist-digits, emnist-letters; expected one set: name its file",
    ):
        open_source(str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(numbered(4)[..., 0]))
    assert open_source(str(tmp_path)).num_images == 4


def test_idx_files_of_any_name(tmp_path: Path) -> None:
    images, labels = numbered(6, 7, 5), np.arange(6, dtype=np.uint8) % 2
    folder = write_folder(
        tmp_path / "set", {"pictures.bin": gzip.compress(idx(images[..., 0])), "README": b"x"}
    )
    for uri in (folder, folder / "pictures.bin"):
        assert np.array_equal(arrays_of(open_source(str(uri)))[0], images)
    write_folder(folder, {"answers.bin": idx(labels)})
    found_images, found_labels = arrays_of(open_source(str(folder)))
    assert np.array_equal(found_images, images)
    assert np.array_equal(found_labels, labels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            idx(numbered(5)[..., 0])[:-1],
            r"ends after 29 bytes of values; expected 30 bytes of values for shape \[5, 2, 3, 1\]",
        ),
        (idx(numbered(5)[..., 0]) + b"x", "has bytes after its last value; expected 30 bytes"),
        (idx(numbered(5)[..., 0])[:9], "the IDX header is damaged or cut short"),
        (idx(np.arange(5, dtype=np.uint8)), r"values of shape \[5\]; expected images"),
        (gzip.compress(idx(numbered(900)[..., 0]), mtime=0)[:-20], "is damaged or cut short"),
        (gzip.compress(idx(numbered(9)[..., 0]), mtime=0)[:-8] + b"\0" * 8, "is damaged"),
    ],
)
def test_broken_idx(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{path}: {message}"):
        list(read_all(open_source(str(path))))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "shape", [(5, 2**31, 2**31), (2**32 - 1,) * 3, (2**32 - 1,) * 4, (2, 2**16, 2**16)]
)
def test_idx_of_absurd_shape(
    tmp_path: Path, shape: tuple[int, ...], compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(
        compress(bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + bytes(100))
    )
    with pytest.raises(
        DataError,
        match=rf"{path}: values of shape \[{shape[0]}, .*"
        r"expected (at most 268,435,456 bytes|images)",
    ):
        list(read_all(open_source(str(path))))


def test_a_plain_idx_is_compared_with_its_size_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(
        bytes([0, 0, 8, 3]) + np.array([2**32 - 1, 100, 100], ">u4").tobytes() + bytes(100)
    )
    with pytest.raises(
        DataError,
        match=f"{path}: ends after 100 bytes of values; expected 42,949,672,950,000 bytes",
    ):
        open_source(str(path))


def test_idx_with_too_few_labels(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(numbered(5)[..., 0]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(
        DataError,
        match=r"labels of shape \[4\]; expected \[5\], one for each image of "
        "train-images-idx3-ubyte",
    ):
        open_source(str(tmp_path))
