"""Object stores: data sets and runs, addressed by URI.

Knows bytes and keys, not their meaning. A store is rooted at a URI (``file:///folder``, a plain
path, ``s3://bucket/prefix``); a key is a relative path with ``/`` between its parts. These methods
are all that the checkpoint protocol and the shard cache need. Each means the same on a folder and
on S3: a write is whole or absent, a conditional write has one winner, a listing is sorted by key.

    store: ObjectStore = open_store("s3://bucket/runs/one", spec.storage)    # job.storage.uri
    store.write("run.yaml", b"seed: 0")
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

from job.config.errors import StorageError


class ObjectMissing(StorageError):
    """There is no object at that key."""

    @classmethod
    def at(cls, store_uri: str, key: str) -> "ObjectMissing":
        """Return the error for ``key`` of the store at ``store_uri``."""
        return cls(
            f"{store_uri}/{key}: there is no such object; check the URI, or what should have"
            " written it"
        )


# Why a request failed that may succeed later: the server asked to slow down, failed, closed the
# connection, timed out, sent less than it announced, or refused credentials that may be renewed.
Reason = Literal["throttled", "server_error", "connection", "timeout", "truncated", "credentials"]
REASONS: tuple[Reason, ...] = get_args(Reason)


PIECE_BYTES = 256 * 1024  # that ``stream`` passes on at a time


class Interrupted(StorageError):
    """A request failed and may succeed if it is retried."""

    def __init__(self, text: str, reason: Reason) -> None:
        super().__init__(text)
        self.reason = reason

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[str, Reason]]:
        """Pickle with the reason, to pass from process to process."""
        return type(self), (str(self), self.reason)


class ObjectInfo(NamedTuple):
    """One object: its key in the store, its size, and a tag that changes with its content."""

    key: str
    num_bytes: int
    etag: str


class ObjectStore(Protocol):
    """Read, write and list objects below one URI. Errors are ``StorageError`` with the URI."""

    uri: str

    def read(self, key: str) -> bytes:
        """Return the whole object; raise ``ObjectMissing`` if it does not exist."""

    def read_range(self, key: str, start: int, num_bytes: int) -> bytes:
        """Return ``num_bytes`` from ``start``, fewer only at the object's end."""

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and tag, or None if the object does not exist."""

    def write(self, key: str, data: bytes) -> None:
        """Write or replace the object, whole or not at all."""

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Write only if the object's tag is ``etag`` (None: if it does not exist).

        Return the new tag, or None if another writer was first.
        """

    def upload(self, path: Path, key: str) -> None:
        """Write a local file, in parts if it is large, whole or not at all."""

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        """Pass ``num_bytes`` bytes from ``start`` to ``write``, piece by piece, in one request.

        Fewer bytes only at the object's end. Raise ``Interrupted`` if a retry may help; retrying is
        left to the caller, who counts the bytes. Raise ``ObjectMissing`` if the object does not
        exist.
        """

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with ``prefix``, in key order."""

    def delete(self, key: str) -> None:
        """Remove the object if it exists."""

    def local_path(self, key: str) -> Path | None:
        """Return the object's path on the local disk, or None for a remote store."""
