"""Shards: read in place or from the cache, verified, and closed."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from job.config.errors import DataError
from job.data.index import Index, write_index
from job.storage.local import LocalStore
from tests.streaming.sets import both_stores, damage_content, damage_size, open_reader


@pytest.mark.parametrize(
    ("damage", "local", "remote"),
    [
        (Path.unlink, "not found; expected 600 bytes by index.json", "not found"),
        (
            damage_size,
            "is 599 bytes; expected 600 by index.json",
            "is 599 bytes; expected 600 by index.json, 3 times",
        ),
        (
            damage_content,
            "has SHA-256 [0-9a-f]{64}; expected [0-9a-f]{64} by index.json",
            "has SHA-256 [0-9a-f]{64}; expected [0-9a-f]{64} by index.json, 3 times",
        ),
    ],
)
@both_stores
def test_a_damaged_shard_is_named(
    folder: Path,
    tmp_path: Path,
    damage: Callable[[Path], None],
    local: str,
    remote: str,
    store_class: type[LocalStore],
) -> None:
    damage(folder / "shard-00003.u8")
    message = local if store_class is LocalStore else remote
    with (
        open_reader(store_class(folder), tmp_path / "cache") as reader,
        pytest.raises(
            DataError,
            match=(
                rf"file://{folder}/shard-00003.u8: {message}: run `dcgan-train data verify"
                rf" file://{folder}`"
            ),
        ),
    ):
        reader.chunk(0, 1000 // 12)
    assert not list(tmp_path.glob("cache/**/*.partial"))


def test_local_hashes_may_be_trusted_but_not_sizes(folder: Path, tmp_path: Path) -> None:
    damage_content(folder / "shard-00000.u8")
    with open_reader(LocalStore(folder), tmp_path / "cache", verify=False) as reader:
        reader.chunk(0, 80)
    damage_size(folder / "shard-00001.u8")
    with (
        open_reader(LocalStore(folder), tmp_path / "cache", verify=False) as reader,
        pytest.raises(DataError, match="is 599 bytes"),
    ):
        reader.chunk(0, 80)


def test_an_index_of_other_shards_is_refused(folder: Path, index: Index, tmp_path: Path) -> None:
    store = LocalStore(folder)
    write_index(
        store, replace(index, shards=(replace(index.shards[0], sha256="0" * 64), *index.shards[1:]))
    )
    with (
        open_reader(store, tmp_path / "cache") as reader,
        pytest.raises(DataError, match=r"expected 0{64}"),
    ):
        reader.chunk(0, 80)


def test_local_shards_are_read_in_place(folder: Path, tmp_path: Path) -> None:
    with open_reader(LocalStore(folder), tmp_path / "cache") as reader:
        reader.chunk(0, 80)
    assert not (tmp_path / "cache").exists()


@both_stores
def test_files_are_closed(folder: Path, tmp_path: Path, store_class: type[LocalStore]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_reader(store_class(folder), tmp_path / "cache") as reader:
        for step in range(0, 160, 10):
            reader.chunk(step, 10)
    assert len(os.listdir("/proc/self/fd")) == before
