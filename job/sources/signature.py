"""What a source held when it was packed, in one hash, so that packing it again can tell a source that changed from one that did not.

Names, sizes and times of change, or an object store's tags: reading every image again would cost as much as packing them.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path


class Signature:
    """SHA-256 over files in the order they are added; equal when and only when their names, sizes and versions are."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, name: str, num_bytes: int, version: int | str) -> None:
        """One file: ``version`` is its time of change in nanoseconds, or its tag in an object store."""
        self._sha256.update(f"{name}\0{num_bytes}\0{version}\n".encode("utf-8", "surrogateescape"))

    def hex(self) -> str:
        """The hash of all files added so far."""
        return self._sha256.hexdigest()


def signature_of(paths: Iterable[Path]) -> str:
    """The signature of local files, each by its name alone, so that a folder may be moved. Raises ``OSError``."""
    signature = Signature()
    for path in sorted(paths):
        found = path.stat()
        signature.add(path.name, found.st_size, found.st_mtime_ns)
    return signature.hex()
