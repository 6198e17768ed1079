"""Verifying: a whole data set passes, every damaged file is named."""

from pathlib import Path

import numpy as np
import pytest

from job.data.index import Index
from job.data.verify import Damage, verify
from job.storage.uri import open_store
from tests.data.samples import numbered, packed_index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """A data set of three shards with labels at ``tmp_path / "out"``."""
    np.savez(tmp_path / "a.npz", x=numbered(300), y=np.arange(300) % 2)
    return packed_index(tmp_path / "a.npz", tmp_path / "out", shard_bytes=600)


def find_damage(tmp_path: Path, index: Index) -> list[Damage]:
    return verify(open_store(str(tmp_path / "out")), index)


def test_a_whole_data_set_passes_with_every_byte_read(tmp_path: Path, index: Index) -> None:
    read: list[int] = []
    assert verify(open_store(str(tmp_path / "out")), index, read.append) == []
    assert sum(read) == 300 * (6 + 4)


def test_every_kind_of_damage_is_reported(tmp_path: Path, index: Index) -> None:
    out = tmp_path / "out"
    (out / "shard-00000.u8").unlink()
    (out / "shard-00001.u8").write_bytes((out / "shard-00001.u8").read_bytes()[:-1])
    flipped = bytearray((out / "shard-00002.u8").read_bytes())
    flipped[300] ^= 4
    (out / "shard-00002.u8").write_bytes(flipped)
    labels = out / "shard-00002.labels.i32"
    labels.write_bytes(labels.read_bytes()[::-1])
    uri = f"file://{out}/shard-0000"
    found = find_damage(tmp_path, index)
    assert found[:2] == [
        Damage(f"{uri}0.u8", "missing; expected 600 bytes"),
        Damage(f"{uri}1.u8", "is 599 bytes; expected 600"),
    ]
    assert [damage.uri for damage in found[2:]] == [f"{uri}2.u8", f"{uri}2.labels.i32"]
    assert found[2].problem.endswith(f"; expected {index.shards[2].sha256}")
