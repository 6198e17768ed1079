"""The parts of every source: signatures of files, sizes of blocks, names for messages."""

import os
from pathlib import Path

import pytest

from job.config.errors import DataError
from job.sources.source import (
    BLOCK_BYTES,
    Signature,
    printable,
    refuse,
    rows_per_block,
    signature_of,
)


def signature(*files: tuple[str, int, int | str]) -> str:
    found = Signature()
    for file in files:
        found.add(*file)
    return found.hex()


def test_a_signature_changes_with_name_size_version_and_order() -> None:
    files = [("a", 1, 2), ("b", 1, 2)]
    others = [[("c", 1, 2), files[1]], [("a", 2, 2), files[1]], [("a", 1, 3), files[1]]]
    found = [signature(*part) for part in (files, *others, files[:1], files[::-1])]
    assert len(set(found)) == len(found)
    assert signature(*files) == found[0]
    assert len(signature(("\udcff", 1, "tag"))) == 64  # a name that is not UTF-8


def test_a_signature_of_files_does_not_depend_on_their_folder(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    for name in ("a", "b"):
        (tmp_path / "before" / name).write_bytes(b"x")
    paths = [tmp_path / "before" / name for name in ("a", "b")]
    before = signature_of(paths)
    assert signature_of(paths[::-1]) == before
    (tmp_path / "before").rename(tmp_path / "after")
    moved = [tmp_path / "after" / path.name for path in paths]
    assert signature_of(moved) == before
    os.utime(moved[0], (1, 1))
    assert signature_of(moved) != before


@pytest.mark.parametrize(
    ("row_bytes", "num_rows"),
    [(0, 4096), (1, 4096), (2048, BLOCK_BYTES // 2048), (BLOCK_BYTES + 1, 1)],
)
def test_a_block_has_some_rows_of_any_size(row_bytes: int, num_rows: int) -> None:
    assert rows_per_block(row_bytes) == num_rows


def test_a_name_that_is_not_utf_8_is_escaped() -> None:
    assert printable(os.fsdecode(b"caf\xe9.png")) == "caf\\udce9.png"
    assert printable("caf\u00e9.png") == "caf\u00e9.png"


def test_an_image_that_cannot_be_read_is_an_error_of_the_data() -> None:
    with pytest.raises(DataError, match="cannot be listed"):
        refuse("cannot be listed")
