"""The shard cache: always within its budget, nothing in use evicted, consistent after any crash."""

import fcntl
import mmap
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import StorageError
from job.streaming.cache import CachedShard, CacheFull, CacheLost, ShardCache, ShardDownload
from job.streaming.cache_folder import CacheFolder
from tests.disks import mounted
from tests.streaming.cached import (
    SIZE,
    cached,
    content,
    files,
    fill,
    load,
    running,
    shard,
    used_bytes,
)
from tests.streaming.sets import RemoteStore, numbers_of, open_reader, pack_numbered


def test_a_committed_shard_is_found_by_all(tmp_path: Path) -> None:
    claim = ShardCache(tmp_path, 10 * SIZE).claim(shard(1))
    assert isinstance(claim, ShardDownload)
    with os.fdopen(os.dup(fill(claim).descriptor), "rb") as file:
        assert file.read() == content(1)
    found = ShardCache(tmp_path, 10 * SIZE).claim(shard(1))
    assert isinstance(found, CachedShard)
    assert os.pread(found.descriptor, SIZE, 0) == content(1)


def test_a_shard_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    claim = ShardCache(tmp_path, 10 * SIZE).claim(shard(1))
    assert isinstance(claim, ShardDownload)
    assert (files(tmp_path), files(tmp_path, ".partial")) == (set(), {shard(1).sha256})
    fill(claim)
    assert (files(tmp_path), files(tmp_path, ".partial")) == ({shard(1).sha256}, set())


def test_only_one_process_downloads(tmp_path: Path) -> None:
    first, second = ShardCache(tmp_path, 10 * SIZE), ShardCache(tmp_path, 10 * SIZE)
    download = first.claim(shard(1))
    assert isinstance(download, ShardDownload)
    assert second.claim(shard(1)) is None
    assert first.claim(shard(1)) is None
    download.abandon()
    again = second.claim(shard(1))
    assert isinstance(again, ShardDownload)
    fill(again)
    assert isinstance(first.claim(shard(1)), CachedShard)


def test_the_oldest_shard_is_evicted_first(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 4 * SIZE)
    for number in (1, 2, 3, 4):
        load(cache, number).release()
    cache.mark_used(shard(1))
    load(cache, 5).release()
    assert cached(tmp_path) == {1, 3, 4, 5}


def test_needed_shards_are_evicted_last(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 4 * SIZE)
    for number in (1, 2, 3, 4):
        load(cache, number).release()
    for number in (2, 1):
        assert cache.mark_needed(shard(number))
    assert not cache.mark_needed(shard(9))
    for number in (5, 6, 7):
        load(cache, number).release()
    assert cached(tmp_path) == {1, 2, 6, 7}
    cache.mark_used(shard(1))
    load(cache, 8).release()
    assert 2 in cached(tmp_path)
    for number in range(20, 30):  # nothing has to stay for ever
        cache.mark_needed(shard(number - 1))
        load(cache, number).release()
    assert not cached(tmp_path) & {1, 2}


def test_a_cached_shard_is_found_without_the_folder_lock(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 4 * SIZE)
    assert cache.find(shard(1)) is None
    load(cache, 1).release()
    with CacheFolder(tmp_path).locked():
        held = cache.find(shard(1))
    assert held is not None
    assert os.pread(held.descriptor, SIZE, 0) == content(1)
    for number in range(2, 8):
        load(cache, number).release()
    assert 1 in cached(tmp_path)
    held.release()


def test_a_shard_removed_before_its_lock_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process evicts it between open and lock: an unlinked file is not counted."""
    cache = ShardCache(tmp_path, 4 * SIZE)
    load(cache, 1).release()
    flock = fcntl.flock
    num_open = len(os.listdir("/proc/self/fd"))

    def late(descriptor: int, lock: int) -> None:
        os.unlink(os.readlink(f"/proc/self/fd/{descriptor}"))
        flock(descriptor, lock)

    monkeypatch.setattr(fcntl, "flock", late)
    assert cache.find(shard(1)) is None
    assert len(os.listdir("/proc/self/fd")) == num_open


def test_a_map_keeps_the_lock(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 2 * SIZE)
    held = load(cache, 1)
    mapped = mmap.mmap(held.descriptor, SIZE, prot=mmap.PROT_READ)
    held.release()
    for number in range(2, 8):
        load(cache, number).release()
    assert 1 in cached(tmp_path)
    assert mapped[:] == content(1)
    mapped.close()
    for number in range(2, 8):
        load(cache, number).release()
    assert 1 not in cached(tmp_path)


def test_shards_in_use_are_not_evicted(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 3 * SIZE)
    held = [load(cache, number) for number in (1, 2)]
    for number in range(3, 20):
        load(ShardCache(tmp_path, 3 * SIZE), number).release()
    assert {1, 2} <= cached(tmp_path)
    held.append(load(cache, 50))
    with pytest.raises(CacheFull):
        cache.claim(shard(51))
    assert cached(tmp_path) == {1, 2, 50}
    held[0].release()
    load(cache, 51).release()
    assert cached(tmp_path) == {2, 50, 51}


def test_downloads_count_and_are_not_evicted(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 2 * SIZE)
    download = cache.claim(shard(1))
    assert isinstance(download, ShardDownload)
    assert used_bytes(tmp_path) == SIZE
    load(cache, 2).release()
    load(cache, 3).release()
    assert cached(tmp_path) == {3}
    assert os.pread(fill(download).descriptor, SIZE, 0) == content(1)


@pytest.mark.slow
def test_the_budget_holds_at_every_moment(tmp_path: Path) -> None:
    """Four processes load 400 shards into room for ten, while this one checks the size."""
    script = f"""
import sys
from pathlib import Path
from job.streaming.cache import CacheFull, ShardCache
from tests.streaming.cached import load, shard
cache = ShardCache(Path({str(tmp_path)!r}), {10 * SIZE})
held = []
for number in range(100):
    try:
        held.append(load(cache, (number * int(sys.argv[1])) % 97))
    except (CacheFull, AssertionError):
        pass
    if len(held) > 1:
        held.pop(0).release()
"""
    with ExitStack() as stack:
        processes = [stack.enter_context(running(script, str(step))) for step in (1, 3, 5, 7)]
        most = 0
        while any(process.poll() is None for process in processes):
            with CacheFolder(
                tmp_path
            ).locked():  # else the listing may show a file under its old and its new name
                most = max(most, used_bytes(tmp_path))
        assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert 5 * SIZE < most <= 10 * SIZE
    for number in cached(tmp_path):
        assert (tmp_path / "shards" / f"{shard(number).sha256}.u8").read_bytes() == content(number)


def test_a_shard_larger_than_the_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        StorageError,
        match=r"shard-00001.u8: is 1 kB, data.cache_bytes is 999 bytes; expected room for it",
    ):
        ShardCache(tmp_path, SIZE - 1).claim(shard(1))


def test_a_file_of_another_downloader_is_not_committed(tmp_path: Path) -> None:
    """The folder is deleted and made again by another process that fetches the same shard."""
    first, second = ShardCache(tmp_path, 10 * SIZE), ShardCache(tmp_path, 10 * SIZE)
    old = first.claim(shard(1))
    subprocess.run(["rm", "-r", tmp_path / "shards"], check=True)
    new = second.claim(shard(1))
    assert isinstance(old, ShardDownload)
    assert isinstance(new, ShardDownload)
    os.pwrite(old.descriptor, b"of the deleted file", 0)
    with pytest.raises(CacheLost):
        old.commit()
    assert files(tmp_path) == set()
    assert os.pread(fill(new).descriptor, SIZE, 0) == content(1)


def test_a_discarded_shard_is_downloaded_again_while_others_keep_theirs(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 10 * SIZE)
    held = load(cache, 1)
    other = cache.claim(shard(1))
    assert isinstance(other, CachedShard)
    other.discard()
    assert os.pread(held.descriptor, SIZE, 0) == content(1)
    assert isinstance(cache.claim(shard(1)), ShardDownload)


KILLED = """
import os, sys
from pathlib import Path
from job.streaming.cache import ShardCache
from tests.streaming.cached import SIZE, load, content, shard
cache = ShardCache(Path(sys.argv[1]), 4 * SIZE)
held = load(cache, 1)
download = cache.claim(shard(2))
os.pwrite(download.descriptor, content(2)[:500], 0)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_locks_of_a_killed_process_are_free(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 4 * SIZE)
    with running(KILLED, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert cache.claim(shard(2)) is None
        with ExitStack() as stack:
            for number in (3, 4):
                stack.callback(load(cache, number).release)
            with pytest.raises(CacheFull):  # one and two are the other's
                cache.claim(shard(5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    download = cache.claim(shard(2))
    assert isinstance(download, ShardDownload)
    assert os.pread(fill(download).descriptor, SIZE, 0) == content(2)
    for number in range(10, 13):
        load(cache, number)
    assert cached(tmp_path) == {2, 10, 11, 12}
    assert used_bytes(tmp_path) == 4 * SIZE


def test_the_partial_file_of_a_killed_process_is_evicted(tmp_path: Path) -> None:
    with running(KILLED, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert files(tmp_path, ".partial") == {shard(2).sha256}
    cache = ShardCache(tmp_path, 4 * SIZE)
    held = [load(cache, number) for number in range(10, 14)]
    assert len(held) == 4
    assert files(tmp_path, ".partial") == set()


def test_one_of_many_threads_downloads(tmp_path: Path) -> None:
    cache, claims = ShardCache(tmp_path, 10 * SIZE), []
    begin = threading.Barrier(16)

    def claim() -> None:
        begin.wait()
        claims.append(cache.claim(shard(1)))

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(claim, ShardDownload) for claim in claims) == 1
    assert claims.count(None) == 15


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    with mounted(tmp_path / "disk", "tmpfs", "-o", "size=64k") as folder:
        yield folder


def test_a_full_disk_is_reported_with_the_budget(small_disk: Path) -> None:
    (small_disk / "of another program").write_bytes(bytes(40_000))
    cache = ShardCache(small_disk, 10**6)
    held = [load(cache, number) for number in range(2)]
    with pytest.raises(CacheFull) as caught:
        held.extend(load(cache, number) for number in range(2, 20))
    assert re.search(
        rf"{small_disk}/shards: cannot take a shard of 1 kB \(No space left on device\): .* of the"
        r" disk is free, the cache holds .* of the"
        r" 1 MB that data.cache_bytes allows; .*lower data.cache_bytes",
        str(caught.value.disk_error),
    )
    assert files(small_disk, ".partial") == set()


def test_a_disk_too_small_for_one_shard_ends_a_reader(small_disk: Path, tmp_path: Path) -> None:
    pack_numbered(tmp_path / "set", 40_000, 14_000)  # no shard of 84 kB fits
    with (
        open_reader(
            RemoteStore(tmp_path / "set"), small_disk, cache_bytes=10**7, fetch_patience_seconds=30
        ) as reader,
        pytest.raises(
            StorageError,
            match=(
                r"No space left on device.* of the 10 MB that data.cache_bytes allows; .*lower"
                r" data.cache_bytes"
            ),
        ),
    ):
        reader.chunk(0, 1)


@pytest.mark.slow
def test_a_disk_smaller_than_the_budget_works(small_disk: Path, tmp_path: Path) -> None:
    """Shards that a reader keeps mapped, as the budget has room, are unmapped for a full disk."""
    pack_numbered(tmp_path / "set", 2400, 10)
    store = RemoteStore(tmp_path / "set")
    with open_reader(store, small_disk, cache_bytes=10**6, fetch_ahead_batches=4) as reader:
        seen = np.concatenate([numbers_of(reader.chunk(step, 1)).ravel() for step in range(200)])
    assert len(np.unique(seen)) == 2400


def test_a_full_disk_makes_the_cache_smaller_first(small_disk: Path) -> None:
    cache = ShardCache(small_disk, 10**6)
    for number in range(40):
        load(cache, number).release()
    assert 39 in cached(small_disk)
    assert 0 not in cached(small_disk)
