"""Shards: rows and labels in order, with their hashes; none is left after a failure."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import StorageError
from job.data.shard_writer import ShardWriter, shard_bytes_for
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.data.samples import numbered

SHAPE = (2, 3, 1)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(str(tmp_path / "out"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def test_shards_are_filled_in_order_from_parts_of_any_size(
    store: ObjectStore, folder: Path
) -> None:
    images, labels = numbered(25), np.arange(25, dtype=np.int32)
    with ShardWriter(store, SHAPE, folder, 10 * 6 + 5, has_labels=True) as writer:
        for start, stop in ((0, 3), (3, 24), (24, 24), (24, 25)):
            writer.append(images[start:stop], labels[start:stop])
        shards = writer.finish()
    assert [(shard.name, shard.num_rows) for shard in shards] == [
        ("shard-00000.u8", 10),
        ("shard-00001.u8", 10),
        ("shard-00002.u8", 5),
    ]
    data = [store.read(shard.name) for shard in shards]
    assert b"".join(data) == images.tobytes()
    assert [shard.num_bytes for shard in shards] == [60, 60, 30]
    assert [shard.sha256 for shard in shards] == [hashlib.sha256(part).hexdigest() for part in data]
    files = [shard.labels for shard in shards if shard.labels]
    label_data = [store.read(file.name) for file in files]
    assert b"".join(label_data) == labels.astype("<i4").tobytes()
    assert [file.sha256 for file in files] == [
        hashlib.sha256(part).hexdigest() for part in label_data
    ]
    assert list(folder.iterdir()) == []


def test_a_failure_deletes_what_was_uploaded(store: ObjectStore, folder: Path) -> None:
    store.write("notes.txt", b"")

    def write_and_fail() -> None:
        with ShardWriter(store, SHAPE, folder, 6) as writer:
            writer.append(numbered(40))
            writer.finish()
            assert len(list(store.list("shard-"))) == 40
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert [found.key for found in store.list()] == ["notes.txt"]


def test_a_temporary_folder_that_is_gone_is_named(store: ObjectStore, tmp_path: Path) -> None:
    with ShardWriter(store, SHAPE, tmp_path / "gone", 60) as writer:
        with pytest.raises(StorageError, match=r"gone/shard-00000\.u8: cannot be written .*room"):
            writer.append(numbered(3))
        writer.finish()


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (numbered(3).astype(np.int16), np.zeros(3, np.int32)),
        (numbered(3, 3, 3), np.zeros(3, np.int32)),
        (numbered(3), None),
    ],
)
def test_other_rows_are_refused(
    store: ObjectStore, folder: Path, images: np.ndarray, labels: np.ndarray | None
) -> None:
    with ShardWriter(store, SHAPE, folder, 60, has_labels=True) as writer:
        with pytest.raises(ValueError, match="do not fit these shards"):
            writer.append(images, labels)
        assert writer.finish() == ()


@pytest.mark.parametrize(
    ("num_rows", "row_bytes", "expected"),
    [
        (1, 784, 256 << 10),  # the minimum
        (1000, 49_152, 2 << 20),  # 32 rows
        (10**6, 12_288, 8 << 20),  # at most 2,048 shards
        (10**9, 12_288, 16 << 20),  # the maximum
    ],
)
def test_the_default_size_of_a_shard(num_rows: int, row_bytes: int, expected: int) -> None:
    assert shard_bytes_for(num_rows, row_bytes) == expected
