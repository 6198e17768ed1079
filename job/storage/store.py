"""Object stores: where data sets and runs live, addressed by URI.

Knows bytes and keys, never what is in them. A store is rooted at a URI (``file:///folder``, a plain path, ``s3://bucket/prefix``); a key is
a relative path with ``/`` between its parts. These methods are all that the checkpoint protocol and the shard cache need, and every one of
them has the same meaning on a folder and on S3: a write is whole or absent, a conditional write has one winner, a listing is sorted by key.

    store: ObjectStore = open_store("s3://bucket/runs/one", spec.storage)    # job.storage.uri
    store.write("run.yaml", b"seed: 0")
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

from job.config.errors import StorageError


class ObjectMissing(StorageError):
    """There is no object at that key."""


# Why a read broke off that may succeed when it is repeated: the server asked to slow down, failed, hung up, said nothing for too long, sent less than
# it announced, or no longer takes credentials that may have been renewed since.
Reason = Literal["throttled", "server_error", "connection", "timeout", "truncated", "credentials"]
REASONS: tuple[Reason, ...] = get_args(Reason)


PIECE_BYTES = 256 * 1024  # of what ``stream`` hands over at a time


class Interrupted(StorageError):
    """A read that broke off and may succeed when it is repeated."""

    def __init__(self, text: str, reason: Reason) -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[str, Reason]]:
        """It travels between processes, as every error of ours does."""
        return type(self), (str(self), self.reason)


class ObjectInfo(NamedTuple):
    """One object: its key relative to the store, its size, and a tag that changes when its content does."""

    key: str
    num_bytes: int
    etag: str


class ObjectStore(Protocol):
    """Read, write and list objects below one URI. Every method raises ``StorageError``, naming the URI, when the store refuses."""

    uri: str

    def read(self, key: str) -> bytes:
        """The whole object; ``ObjectMissing`` where there is none."""

    def read_range(self, key: str, start: int, num_bytes: int) -> bytes:
        """``num_bytes`` bytes from ``start``; fewer only at the object's end; ``ObjectMissing`` where there is none."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Size and tag, or None where there is no such object."""

    def write(self, key: str, data: bytes) -> None:
        """Put ``data`` at ``key``, whole or not at all, replacing what was there."""

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Put ``data`` only while the object's tag is ``etag`` (None: while there is no object); its new tag, or None when it lost."""

    def upload(self, path: Path, key: str) -> None:
        """Put a local file, in parts where it is large, whole or not at all."""

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        """Hand ``num_bytes`` bytes from ``start`` to ``write``, piece by piece in order, in one request; fewer only at the object's end.

        ``Interrupted`` where it broke off and may work again: repeating is left to the caller, who knows how far it came and how long to go on.
        ``ObjectMissing`` where there is no such object.
        """

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, in key order."""

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine's disk, for reading in place, or None for a remote store."""
