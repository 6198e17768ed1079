"""The cache folder: other programs' files are kept, and it may be deleted at any time."""

import os
import subprocess
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.streaming.cache import CacheLost, ShardCache, ShardDownload
from tests.streaming.cached import SIZE, cached, content, fill, load, running, shard, used_bytes


def test_only_files_of_the_cache_are_removed(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 2 * SIZE)
    load(cache, 1).release()
    foreign = [
        tmp_path / "shards" / "notes.txt",
        tmp_path / "shards" / "photo.u8",
        tmp_path / "other" / f"{shard(1).sha256}.u8",
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(10 * SIZE))
        os.utime(path, (0, 0))
    for number in range(2, 10):
        load(cache, number).release()
    assert all(path.stat().st_size == 10 * SIZE for path in foreign)
    assert cached(tmp_path) == {8, 9}


@pytest.mark.parametrize("name", ["holiday.jpg", "lock", "CACHEDIR.TAG"])
def test_a_folder_of_another_program_is_not_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / name).write_bytes(b"of another program")
    with pytest.raises(
        StorageError,
        match=(
            rf"{tmp_path}/shards: is not a dcgan-train cache \(found {name}, no CACHEDIR.TAG of"
            r" dcgan-train\)"
        ),
    ):
        ShardCache(tmp_path, 2 * SIZE).claim(shard(1))
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "shards").iterdir()] == [
        (name, b"of another program")
    ]


@pytest.mark.parametrize("blocked", ["file", "read only"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, blocked: str) -> None:
    if blocked == "file":
        (tmp_path / "cache").write_text("")
        folder = tmp_path / "cache"
    else:
        folder = Path("/proc/cache")
    with pytest.raises(
        StorageError,
        match=f"{folder}/shards: cannot be used as a cache .*set another data.cache_dir",
    ):
        ShardCache(folder, 2 * SIZE).claim(shard(1))


def test_the_folder_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 10 * SIZE)
    held, download = load(cache, 1), cache.claim(shard(2))
    assert isinstance(download, ShardDownload)
    subprocess.run(["rm", "-r", tmp_path / "shards"], check=True)
    assert os.pread(held.descriptor, SIZE, 0) == content(1)
    with pytest.raises(CacheLost):
        fill(download)
    load(cache, 1)
    load(cache, 2)
    assert cached(tmp_path) == {1, 2}


def test_the_folder_may_be_deleted_again_and_again_while_it_is_used(tmp_path: Path) -> None:
    """Here with ``rm -r`` by another process, as fast as it can."""
    deleting = (
        "import subprocess, sys\nwhile True: subprocess.run(['rm', '-rf', sys.argv[1]],"
        " stderr=subprocess.DEVNULL)"
    )
    cache, lost = ShardCache(tmp_path, 200 * SIZE), 0
    with running(deleting, str(tmp_path / "shards")):
        for number in range(600):
            try:
                load(cache, number % 100).release()
            except CacheLost:
                lost += 1
    assert lost < 600
    for number in range(100):
        load(ShardCache(tmp_path, 200 * SIZE), number).release()
    assert len(cached(tmp_path)) == 100


def test_a_lost_or_damaged_count_is_recounted(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 4 * SIZE)
    for number in (1, 2, 3):
        load(cache, number).release()
    for damage in (b"", b"nonsense", b"%20d\n" % 10**9, b"%20d\n" % 0):
        (tmp_path / "shards" / ".~lock").write_bytes(damage)
        fresh = ShardCache(tmp_path, 4 * SIZE)
        for number in range(10, 20):
            load(fresh, number).release()
            assert used_bytes(tmp_path) <= 4 * SIZE
        assert len(cached(tmp_path)) == 4
