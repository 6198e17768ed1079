"""Chosen rows of a packed data set: the pixels and labels at their numbers, verified."""

from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.data import rows as module
from job.data.index import Index, read_index
from job.data.rows import read_rows
from job.packing.pack import PackJob, PackSettings, pack
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.data.samples import class_files, packed_labels, packed_rows, write_folder


@pytest.fixture
def packed(tmp_path: Path) -> tuple[ObjectStore, Index]:
    """Return 200 images of 4x4 in three classes, in shards of 64 rows."""
    source = write_folder(tmp_path / "images", class_files(200))
    pack(PackJob(str(source), str(tmp_path / "packed"), PackSettings(shard_bytes=1024)))
    store = open_store(str(tmp_path / "packed"))
    return store, read_index(store)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [[], [0], [199], [63, 64, 65], [5, 190], list(range(200))])
def test_rows_are_those_of_the_shards(
    packed: tuple[ObjectStore, Index], tmp_path: Path, rows: list[int]
) -> None:
    store, index = packed
    assert len(index.shards) == 4
    found = read_rows(store, index, np.array(rows, np.int64))
    assert np.array_equal(found.images, packed_rows(tmp_path / "packed", index)[rows])
    assert found.labels is not None
    assert np.array_equal(found.labels, packed_labels(tmp_path / "packed", index)[rows])
    assert found.class_names == ("cat", "dog", "owl")


def test_only_the_shards_of_the_rows_are_read(
    packed: tuple[ObjectStore, Index], tmp_path: Path
) -> None:
    store, index = packed
    for shard in index.shards[1:]:
        store.delete(shard.name)
    assert len(read_rows(store, index, np.arange(64)).images) == 64


def test_a_changed_shard_is_an_error(packed: tuple[ObjectStore, Index]) -> None:
    store, index = packed
    store.write(index.shards[0].name, bytes(index.shards[0].num_bytes))
    with pytest.raises(DataError, match="has another SHA-256"):
        read_rows(store, index, np.arange(3))


def test_too_many_rows_are_refused(
    packed: tuple[ObjectStore, Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 160)
    with pytest.raises(ConfigError, match=r"expected at most 10\. Ask for fewer"):
        read_rows(*packed, np.arange(11))
