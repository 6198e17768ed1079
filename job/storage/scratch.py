"""A temporary folder on the local disk, for files on their way to or from a store."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from job.config.errors import StorageError


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Gone at the end of the block; an ``OSError`` in it (a full or missing TMPDIR) becomes a ``StorageError`` that says where."""
    try:
        with tempfile.TemporaryDirectory(
            prefix="dcgan-train-", ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except OSError as error:
        where = tempfile.gettempdir()
        raise StorageError(
            f"{where}: cannot hold a temporary file ({error.strerror or error}); make room there, or set TMPDIR to another folder"
        ) from error
