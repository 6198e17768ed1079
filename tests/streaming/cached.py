"""Small shards in a cache, for the tests of the cache and its folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from job.data.index import Shard
from job.streaming.cache import CachedShard, ShardCache, ShardDownload

ROOT = Path(__file__).parents[2]


SIZE = 1000


def content(number: int) -> bytes:
    return number.to_bytes(2) * (SIZE // 2)


def shard(number: int) -> Shard:
    return Shard(f"shard-{number:05d}.u8", 10, SIZE, sha256(content(number)).hexdigest(), None)


def fill(download: ShardDownload) -> CachedShard:
    os.pwrite(download.descriptor, content(int(download.shard.name[6:11])), 0)
    return download.commit()


def load(cache: ShardCache, number: int) -> CachedShard:
    claim = cache.claim(shard(number))
    assert claim is not None
    return claim if isinstance(claim, CachedShard) else fill(claim)


def files(folder: Path, suffix: str = ".u8") -> set[str]:
    return {path.stem for path in (folder / "shards").glob(f"*{suffix}")}


def cached(folder: Path) -> set[int]:
    """Return the numbers, below 100, of the cached shards."""
    return {number for number in range(100) if shard(number).sha256 in files(folder)}


def used_bytes(folder: Path) -> int:
    return sum(
        path.stat().st_size
        for path in (folder / "shards").iterdir()
        if path.suffix in (".u8", ".partial")
    )


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
