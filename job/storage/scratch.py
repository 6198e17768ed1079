"""A temporary folder on the local disk, for uploads and downloads."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from job.config.errors import StorageError


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder; raise ``StorageError`` for a full or missing TMPDIR."""
    try:
        with tempfile.TemporaryDirectory(
            prefix="dcgan-train-", ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)
    except OSError as error:
        folder_name = tempfile.gettempdir()
        raise StorageError(
            f"{folder_name}: cannot hold a temporary file ({error.strerror or error}); make room"
            " there, or set TMPDIR to another folder"
        ) from error
