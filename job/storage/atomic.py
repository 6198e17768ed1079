"""Local files that appear whole or not at all.

    with whole_file(Path("index.json")) as temporary:
        temporary.write_bytes(b"{}")

A temporary file in the same folder, flushed to the disk and renamed over the target: rename is atomic only within one file system.
"""

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from job.storage.keys import OWN_PREFIX

_FOLDER_ATTEMPTS = 5


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty temporary file beside ``path`` to fill; it takes that name when the block ends well and is removed when it does not.

    Makes the folders above. Raises ``OSError``; ``path`` then is as it was.
    """
    temporary = path.parent / f"{OWN_PREFIX}{secrets.token_hex(8)}"
    os.close(open_in_folder(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        yield temporary
        # The kernel stamps files with its last tick (4 ms): two writes within one would look alike to whoever tells versions apart by it.
        stamp = time.time_ns()
        os.utime(temporary, ns=(stamp, stamp))
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def open_in_folder(path: Path, flags: int) -> int:
    """A file descriptor of ``path``, making its folder first; repeated when another process removes the empty folder in between."""
    for attempts_left in reversed(range(_FOLDER_ATTEMPTS)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not attempts_left:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _flush(path: Path) -> None:
    """Push a file's bytes, or a folder's new names, down to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
