"""Chosen images of a packed data set, in memory: for scores, not for training.

Whole shards are read and their SHA-256 is verified, so the cost is that of the shards that hold a
chosen row.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.data.index import Index, read_index
from job.data.verify import damaged
from job.storage.store import ObjectStore
from job.storage.uri import open_store

MAX_BYTES = 4 << 30  # of pixels
_BLOCK_BYTES = 64 << 20


class LabelledImages(NamedTuple):
    """Images uint8 ``[N, H, W, C]``; labels int32 ``[N]`` if there are classes, -1 for none."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32] | None
    class_names: tuple[str, ...]  # empty without classes


@dataclass(frozen=True)
class PackedImages:
    """A packed data set."""

    store: ObjectStore
    index: Index

    def read(self, first: int, num_images: int) -> LabelledImages:
        """Return ``num_images`` images from number ``first`` on; fewer at the end."""
        stop = min(first + num_images, self.index.num_rows)
        return read_rows(self.store, self.index, np.arange(first, stop))


def open_packed(uri: str, storage: StorageSpec) -> PackedImages:
    """Return the data set at ``uri``; raise ``DataError`` if there is none."""
    store = open_store(uri, storage)
    return PackedImages(store, read_index(store))


def read_rows(store: ObjectStore, index: Index, rows: NDArray[np.int64]) -> LabelledImages:
    """Return the images at ``rows`` ``[N]``: different numbers from 0 to ``num_rows - 1``, sorted.

    The first rows are a fair sample: ``data pack`` shuffles. Raise ``ConfigError`` for more than 4
    GiB of pixels, ``DataError`` for a shard whose bytes differ from the index, and ``StorageError``
    from the store.
    """
    if len(rows) * index.row_bytes > MAX_BYTES:
        raise ConfigError(
            f"{store.uri}: {len(rows):,} images of {index.row_bytes:,} bytes do not fit in memory;"
            f" expected at most {MAX_BYTES // index.row_bytes:,}. Ask for fewer images"
        )
    images = np.empty((len(rows), index.row_bytes), np.uint8)
    labels = np.full(len(rows), -1, np.int32)
    start = 0
    for shard in index.shards:
        first, last = np.searchsorted(rows, [start, start + shard.num_rows])
        chosen, start = rows[first:last] - start, start + shard.num_rows
        if first == last:
            continue
        data = _verified(store, shard.name, shard.num_bytes, shard.sha256)
        images[first:last] = np.frombuffer(data, np.uint8).reshape(-1, index.row_bytes)[chosen]
        if shard.labels is not None:
            data = _verified(store, shard.labels.name, 4 * shard.num_rows, shard.labels.sha256)
            labels[first:last] = np.frombuffer(data, "<i4")[chosen]
    names = tuple(each.name for each in index.classes or ())
    return LabelledImages(images.reshape(-1, *index.image_shape), labels if names else None, names)


def row_blocks(store: ObjectStore, index: Index) -> Iterator[LabelledImages]:
    """Yield all images of the data set in order, in blocks of about 64 MiB; errors as above."""
    size = max(1, _BLOCK_BYTES // index.row_bytes)
    for first in range(0, index.num_rows, size):
        yield read_rows(store, index, np.arange(first, min(first + size, index.num_rows)))


def _verified(store: ObjectStore, name: str, num_bytes: int, sha256: str) -> bytes:
    data = store.read_range(name, 0, num_bytes)
    if len(data) != num_bytes or hashlib.sha256(data).hexdigest() != sha256:
        raise damaged(store, name, "has another SHA-256 than index.json says")
    return data
