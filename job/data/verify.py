"""``data verify``: check that every shard of a data set exists and has the right size and hash."""

import hashlib
import os
from collections.abc import Callable
from typing import NamedTuple

from job.config.errors import DataError
from job.data.index import LABEL_BYTES, Index
from job.storage.store import ObjectMissing, ObjectStore

_PIECE_BYTES = 8 << 20
_HASHED_BYTES = 1 << 20  # at a time: stays in the processor's cache


class Damage(NamedTuple):
    """A file of a data set that does not match the index, and why."""

    uri: str
    problem: str


def verify(
    store: ObjectStore, index: Index, on_progress: Callable[[int], None] = lambda num_bytes: None
) -> list[Damage]:
    """Return every damaged file of the data set, in the index's order.

    ``on_progress`` gets the bytes of each piece read. ``StorageError`` from the store.
    """
    damaged = []
    for name, num_bytes, sha256 in _files(index):
        problem = _problem(store, name, num_bytes, sha256, on_progress)
        if problem is not None:
            damaged.append(Damage(f"{store.uri.rstrip('/')}/{name}", problem))
    return damaged


def damaged(store: ObjectStore, name: str, problem: str) -> DataError:
    """Return the error for a file of the data set at ``store`` that cannot be used."""
    uri = store.uri.rstrip("/")
    return DataError(
        f"{uri}/{name}: {problem}: run `dcgan-train data verify {uri}`, "
        "then copy the data set again or pack the images again"
    )


def descriptor_sha256(descriptor: int) -> str:
    """Return the SHA-256, in hex, of an open file; its position stays. Raises ``OSError``."""
    digest, place = hashlib.sha256(), 0
    while piece := os.pread(descriptor, _HASHED_BYTES, place):
        digest.update(piece)
        place += len(piece)
    return digest.hexdigest()


def _files(index: Index) -> list[tuple[str, int, str]]:
    """Return name, bytes and SHA-256 of every file beside the index."""
    files = []
    for shard in index.shards:
        files.append((shard.name, shard.num_bytes, shard.sha256))
        if shard.labels is not None:
            files.append((shard.labels.name, shard.num_rows * LABEL_BYTES, shard.labels.sha256))
    return files


def _problem(
    store: ObjectStore, name: str, num_bytes: int, sha256: str, on_progress: Callable[[int], None]
) -> str | None:
    missing = f"missing; expected {num_bytes:,} bytes"
    found = store.stat(name)
    if found is None:
        return missing
    if found.num_bytes != num_bytes:
        return f"is {found.num_bytes:,} bytes; expected {num_bytes:,}"
    digest = hashlib.sha256()
    try:
        for start in range(0, num_bytes, _PIECE_BYTES):
            piece = store.read_range(name, start, min(_PIECE_BYTES, num_bytes - start))
            digest.update(piece)
            on_progress(len(piece))
    except ObjectMissing:  # deleted while it was read
        return missing
    if digest.hexdigest() != sha256:
        return f"has SHA-256 {digest.hexdigest()}; expected {sha256}"
    return None
