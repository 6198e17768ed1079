"""Loading a shard: verified, and bounded waits for other processes and for room."""

from pathlib import Path

import pytest

from job.config.errors import DataError, StorageError
from job.data.index import Shard, read_index
from job.streaming.cache import ShardCache, ShardDownload
from tests.streaming.sets import RemoteStore, damage_content, open_reader


def test_a_download_is_always_verified(folder: Path, tmp_path: Path) -> None:
    damage_content(folder / "shard-00000.u8")
    with (
        open_reader(RemoteStore(folder), tmp_path / "cache", verify=False) as reader,
        pytest.raises(DataError, match="has SHA-256"),
    ):
        reader.chunk(0, 80)


def test_a_cache_full_of_shards_in_use_ends_with_a_remedy(
    store: RemoteStore, tmp_path: Path
) -> None:
    cache = ShardCache(tmp_path / "cache", 12 * 120)
    others = [
        cache.claim(Shard(f"other-{number}.u8", 20, 120, f"{number:064x}", None))
        for number in range(12)
    ]
    options = {"cache_bytes": 12 * 120, "fetch_patience_seconds": 0.3}
    with (
        open_reader(store, tmp_path / "cache", **options) as reader,
        pytest.raises(
            StorageError,
            match=(
                r"data.cache_bytes is 1.44 kB, and all of it has been in use by other runs for 0.3"
                r" s; .*raise"
            ),
        ),
    ):
        reader.chunk(0, 1)
    for claim in others:
        assert isinstance(claim, ShardDownload)
        claim.abandon()


def test_waiting_for_a_silent_process_ends(store: RemoteStore, tmp_path: Path) -> None:
    """One that was stopped, or whose store is down, while it fetches what this one needs."""
    index = read_index(store)
    cache = ShardCache(tmp_path / "cache", 10**6)
    claims = [cache.claim(shard) for shard in index.shards]
    with (
        open_reader(
            store, tmp_path / "cache", cache_bytes=10**6, fetch_patience_seconds=0.3
        ) as reader,
        pytest.raises(
            StorageError,
            match=(
                r"shard-\d+.u8: another process on this host is downloading it and has received no"
                r" data for 0.3 s"
            ),
        ),
    ):
        reader.chunk(0, 1)
    for claim in claims:
        assert isinstance(claim, ShardDownload)
        claim.abandon()
