"""The external shuffle: every row once, in bounded memory."""

import os
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import StorageError
from job.packing.scatter import BUCKETS, Scatter


def test_a_bucket_too_large_for_memory_is_split(tmp_path: Path) -> None:
    records = np.arange(1000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    (tmp_path / "tmp").mkdir()
    rows = Scatter(tmp_path / "tmp", 4, key=3, max_bucket_bytes=60)
    for part in np.array_split(records, 7):
        rows.add(part)
    chunks = list(rows.shuffled())
    assert max(chunk.nbytes for chunk in chunks) <= 60
    out = np.concatenate(chunks).view(np.uint32)[:, 0]
    assert np.array_equal(np.sort(out), np.arange(1000))
    assert abs(np.corrcoef(out, np.arange(1000))[0, 1]) < 0.1
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full on this system")
def test_a_full_temporary_disk(tmp_path: Path) -> None:
    for bucket in range(BUCKETS):  # every bucket file is a device that is always full
        (tmp_path / f"bucket-{7:016x}-{bucket:02d}").symlink_to("/dev/full")
    rows = Scatter(tmp_path, 100_000, key=7)
    with pytest.raises(
        StorageError, match=rf"{tmp_path}: cannot write temporary files \(no space left\); .*--tmp"
    ):
        rows.add(np.zeros((8, 100_000), np.uint8))


def test_the_order_depends_on_the_key_and_not_on_how_records_are_added(tmp_path: Path) -> None:
    records = np.arange(1000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    found = []
    for number, (key, parts) in enumerate([(3, 1), (3, 7), (4, 1)]):
        (tmp_path / str(number)).mkdir()
        scatter = Scatter(tmp_path / str(number), 4, key)
        for part in np.array_split(records, parts):
            scatter.add(part)
        found.append(np.concatenate(list(scatter.shuffled())).tobytes())
    assert found[0] == found[1] != found[2]
