"""Packed data sets and readers for the tests of ``job.streaming``."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from job.config.spec import DataSpec
from job.data.index import Index, read_index
from job.data.order import Order, needs, worker_positions
from job.storage.local import LocalStore
from job.storage.store import ObjectStore
from job.streaming.events import NullListener, StreamListener
from job.streaming.reader import Reader
from job.streaming.shards import open_shards
from tests.data.samples import numbered, packed_index

ENDLESS = 10**6
NUM_CLASSES = 7


class Heard(NullListener):
    """Counts requests, bytes and retries."""

    def __init__(self) -> None:
        self.requests = self.bytes = 0
        self.reasons: Counter[str] = Counter()
        self._lock = threading.Lock()

    def requested(self) -> None:
        with self._lock:
            self.requests += 1

    def received(self, num_bytes: int) -> None:
        with self._lock:
            self.bytes += num_bytes

    def retried(self, reason: str) -> None:
        with self._lock:
            self.reasons[reason] += 1


class RemoteStore(LocalStore):
    """A folder that is read by requests only, as S3 is, and that records them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.streamed: list[str] = []

    def local_path(self, key: str) -> Path | None:
        return None

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        self.streamed.append(key)
        super().stream(key, start, num_bytes, write)


def pack_numbered(
    folder: Path, num_images: int = 1000, shard_images: int = 100, **shape: int
) -> Index:
    """Pack a data set of different images; the first two bytes of each are its number.

    The label of each is its number modulo ``NUM_CLASSES``.
    """
    source = folder.parent / f"{folder.name}.npz"
    images = numbered(num_images, **shape)
    np.savez(source, images=images, labels=np.arange(num_images) % NUM_CLASSES)
    return packed_index(source, folder, shard_bytes=shard_images * images[0].size)


def order_of(index: Index, batch: int = 12, seed: int = 5, streams: int | None = None) -> Order:
    return Order(tuple(shard.num_rows for shard in index.shards), batch, seed, streams)


def open_reader(
    store: ObjectStore,
    cache_dir: Path,
    *,
    batch: int = 12,
    streams: int | None = None,
    worker: int = 0,
    num_workers: int = 1,
    first_step: int = 0,
    stop_step: int = ENDLESS,
    listener: StreamListener | None = None,
    connections: int = 4,
    threads: int = 1,
    with_labels: bool = False,
    **data: object,
) -> Reader:
    """Return a reader of one worker from ``first_step`` on; ``data`` are fields of ``DataSpec``."""
    index = read_index(store)
    order = order_of(index, batch, streams=streams)
    positions = worker_positions(order, worker, num_workers)
    spec = DataSpec(cache_dir=str(cache_dir), **data)  # type: ignore[arg-type]
    needed = needs(order, positions, first_step, stop_step)
    shards = open_shards(
        store,
        index,
        spec,
        needed,
        connections=connections,
        sharers=num_workers,
        listener=listener,
        with_labels=with_labels,
    )
    return Reader(order, index, positions, shards, threads)


def numbers_of(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the numbers of images of ``numbered``: int64 ``[...]`` of uint8 ``[..., H, W, C]``."""
    flat = images.reshape(*images.shape[:-3], -1).astype(np.int64)
    return flat[..., 0] + 256 * flat[..., 1]


def batches_of(chunk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images ``[K, B, H, W, C]`` of a chunk ``[S, K, P, H, W, C]``, as training does."""
    return np.stack(
        [chunk[:, step].reshape(-1, *chunk.shape[-3:]) for step in range(chunk.shape[1])]
    )


def damage_size(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage_content(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


both_stores = pytest.mark.parametrize("store_class", [LocalStore, RemoteStore])
