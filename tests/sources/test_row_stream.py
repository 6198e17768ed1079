"""Rows read block by block, and the shapes that are images."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DataError
from job.sources.open_source import open_source
from job.sources.row_stream import as_image_shape, check_num_bytes, open_maybe_gzip, read_blocks


def test_an_array_with_the_channels_first(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 3, 16, 16), np.uint8))
    with pytest.raises(
        DataError,
        match=r"shape \[5, 3, 16, 16\]; expected .*: move the channels to the end with "
        r"np.moveaxis\(array, 1, -1\)",
    ):
        open_source(str(tmp_path / "a.npy"))


ROWS = np.arange(30, dtype=np.uint8).reshape(5, 2, 3)


@pytest.mark.parametrize(("num_rows", "sizes"), [(2, [2, 2, 1]), (5, [5]), (None, [5])])
def test_rows_are_read_in_blocks(num_rows: int | None, sizes: list[int]) -> None:
    blocks = list(read_blocks(io.BytesIO(ROWS.tobytes()), "a", ROWS.shape, num_rows))
    assert [len(block) for block in blocks] == sizes
    assert np.array_equal(np.concatenate(blocks), ROWS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ROWS.tobytes()[:-1], r"a: ends after 29 bytes of values; expected 30 bytes of values"),
        (ROWS.tobytes() + b"x", r"a: has bytes after its last value; .* for shape \[5, 2, 3\]"),
    ],
)
def test_a_file_of_another_size_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_blocks(io.BytesIO(data), "a", ROWS.shape, 2))
    with pytest.raises(DataError, match=message):
        check_num_bytes("a", ROWS.shape, len(data))
    check_num_bytes("a", ROWS.shape, 30)


def test_a_file_is_decompressed_by_its_content(tmp_path: Path) -> None:
    for name, data in (("plain.gz", b"values"), ("compressed", gzip.compress(b"values"))):
        (tmp_path / name).write_bytes(data)
        with open_maybe_gzip(tmp_path / name) as file:
            assert file.read() == b"values"


def test_grey_images_get_one_channel() -> None:
    assert as_image_shape((5, 2, 3), "a") == (5, 2, 3, 1)
    assert as_image_shape((5, 2, 3, 3), "a") == (5, 2, 3, 3)
