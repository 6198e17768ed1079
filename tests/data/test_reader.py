"""Reading rows: the right ones, from a folder and from a store, and never a byte of a damaged shard."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DataError, StorageError
from job.data.index import Index, read_index
from job.data.order import Order, rows_at
from job.data.reader import ShardReader
from job.storage.local import LocalStore
from tests.data.samples import numbered, packed_index, packed_rows

ROOT = Path(__file__).parents[2]


class RemoteStore(LocalStore):
    """A folder that can only be reached by downloading, and counts the downloads: what a reader sees of S3, without a server."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.downloads: list[str] = []

    def local_path(self, key: str) -> Path | None:
        return None

    def download(self, key: str, path: Path) -> None:
        self.downloads.append(key)
        super().download(key, path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of 1,000 images in ten shards."""
    np.save(tmp_path / "a.npy", numbered(1000))
    packed_index(tmp_path / "a.npy", tmp_path / "out", shard_bytes=600)
    return tmp_path / "out"


@pytest.fixture
def index(folder: Path) -> Index:
    return read_index(LocalStore(folder))


@pytest.fixture(params=[LocalStore, RemoteStore])
def reader(request: pytest.FixtureRequest, folder: Path, index: Index, tmp_path: Path) -> Iterator[ShardReader]:
    with ShardReader(request.param(folder), index, tmp_path / "cache") as reader:
        yield reader


@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (640,), (10, 64), (2, 3, 4)])
def test_gather_takes_rows_of_any_shape(reader: ShardReader, folder: Path, index: Index, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).integers(0, 1000, shape)
    images = reader.gather(rows)
    assert (images.dtype, images.shape) == (np.uint8, (*shape, 2, 3, 1))
    assert np.array_equal(images, packed_rows(folder, index)[rows])


def test_one_shard(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(50))
    index = packed_index(tmp_path / "a.npy", tmp_path / "out")
    with ShardReader(LocalStore(tmp_path / "out"), index, tmp_path / "cache") as reader:
        rows = np.array([[49, 0], [7, 7]])
        assert np.array_equal(reader.gather(rows), packed_rows(tmp_path / "out", index)[rows])


@pytest.mark.parametrize("rows", [[-1], [1000], [0, 5000]])
def test_rows_that_are_not_there(reader: ShardReader, rows: list[int]) -> None:
    with pytest.raises(IndexError, match="of a data set of 1000"):
        reader.gather(np.array(rows))


def damage_size(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage_content(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "not found"),
        (damage_size, "is 599 bytes; expected 600 by index.json"),
        (damage_content, "has SHA-256 [0-9a-f]{64}; expected [0-9a-f]{64} by index.json"),
    ],
)
def test_a_damaged_shard_is_named_when_a_row_of_it_is_read(reader: ShardReader, folder: Path, damage: object, message: str) -> None:
    damage(folder / "shard-00003.u8")  # type: ignore[operator]
    assert reader.gather(np.arange(300)).shape[0] == 300
    with pytest.raises(DataError, match=rf"file://{folder}/shard-00003.u8: {message}.*: run `dcgan-train data verify file://{folder}`"):
        reader.gather(np.array([310]))
    assert reader.gather(np.array([400])).shape[0] == 1


def test_local_hashes_can_be_trusted_but_not_sizes_or_downloads(folder: Path, index: Index, tmp_path: Path) -> None:
    damage_content(folder / "shard-00000.u8")
    damage_size(folder / "shard-00001.u8")
    with ShardReader(LocalStore(folder), index, tmp_path / "cache", verify=False) as reader:
        reader.gather(np.array([0]))
        with pytest.raises(DataError, match="is 599 bytes"):
            reader.gather(np.array([100]))
    with ShardReader(RemoteStore(folder), index, tmp_path / "cache", verify=False) as reader, pytest.raises(DataError, match="has SHA-256"):
        reader.gather(np.array([0]))
    assert list((tmp_path / "cache").glob("*.u8")) == list((tmp_path / "cache").glob("*.partial")) == []


def test_only_the_shards_asked_for_are_downloaded_once(folder: Path, index: Index, tmp_path: Path) -> None:
    store = RemoteStore(folder)
    with ShardReader(store, index, tmp_path / "cache") as reader:
        for _ in range(3):
            reader.gather(np.array([10, 250, 299]))
    assert store.downloads == ["shard-00000.u8", "shard-00002.u8"]
    with ShardReader(store, index, tmp_path / "cache") as reader:  # as a restarted worker does
        reader.gather(np.array([299, 500]))
    assert store.downloads[2:] == ["shard-00005.u8"]


def test_a_damaged_cached_copy_is_fetched_again(folder: Path, index: Index, tmp_path: Path) -> None:
    store = RemoteStore(folder)
    cached = tmp_path / "cache" / f"{index.shards[0].sha256}.u8"
    for damage in (damage_size, damage_content):
        with ShardReader(store, index, tmp_path / "cache") as reader:
            reader.gather(np.array([0]))
        damage(cached)
        with ShardReader(store, index, tmp_path / "cache") as reader:
            assert np.array_equal(reader.gather(np.arange(100)), packed_rows(folder, index)[:100])
    assert len(store.downloads) == 3


def test_threads_download_a_shard_once(folder: Path, index: Index, tmp_path: Path) -> None:
    store = RemoteStore(folder)
    with ShardReader(store, index, tmp_path / "cache") as reader, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: reader.gather(np.arange(0, 1000, 10)), range(16)))
    assert sorted(store.downloads) == [shard.name for shard in index.shards]


PROCESS = """
import sys
from pathlib import Path
import numpy as np
from job.data.index import read_index
from job.data.reader import ShardReader
from tests.data.test_reader import RemoteStore
store = RemoteStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
with ShardReader(store, read_index(store), Path(sys.argv[2])) as reader:
    reader.gather(np.arange(1000))
print(len(store.downloads))
"""


def test_processes_on_one_cache_download_a_shard_once(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(folder), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:  # all at once
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert sum(counts) == 10


def test_a_store_that_fails_is_no_fault_of_the_data(folder: Path, index: Index, tmp_path: Path) -> None:
    class Failing(RemoteStore):
        def download(self, key: str, path: Path) -> None:
            raise StorageError("out of reach")

    with ShardReader(Failing(folder), index, tmp_path / "cache") as reader, pytest.raises(StorageError, match="out of reach"):
        reader.gather(np.array([0]))


def test_a_cache_that_cannot_be_made(folder: Path, index: Index, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reader = ShardReader(RemoteStore(folder), index, tmp_path / "file" / "cache")
    with reader, pytest.raises(StorageError, match=f"{tmp_path}/file/cache: cannot be used as a cache"):
        reader.gather(np.array([0]))


def test_an_index_of_other_shards_does_not_match(folder: Path, index: Index, tmp_path: Path) -> None:
    other = replace(index, shards=(replace(index.shards[0], sha256="0" * 64), *index.shards[1:]))
    with ShardReader(LocalStore(folder), other, tmp_path / "cache") as reader, pytest.raises(DataError, match=r"expected 0{64}"):
        reader.gather(np.array([0]))


def test_a_warm_gather_is_fast(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((60_000, 28, 28), np.uint8))
    index = packed_index(tmp_path / "a.npy", tmp_path / "out", shard_bytes=16 << 20)
    order = Order(60_000, 64, 0)
    chunks = [rows_at(order, step, 10) for step in range(0, 900, 10)]
    with ShardReader(LocalStore(tmp_path / "out"), index, tmp_path / "cache") as reader:
        for rows in chunks:
            reader.gather(rows)
        start = time.perf_counter()
        for rows in chunks:
            reader.gather(rows)
    images_per_second = len(chunks) * 640 / (time.perf_counter() - start)
    assert images_per_second > 250_000, f"{images_per_second:,.0f} images/s"  # millions on a quiet core
