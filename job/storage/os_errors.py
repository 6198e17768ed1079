"""Errors of the operating system about files, turned into ``StorageError`` with a remedy."""

import errno
import os
from pathlib import Path

from job.config.errors import StorageError
from job.storage.keys import OWN_PREFIX
from job.storage.paths import local_path

_IS_FILE = (
    "a part of the path is a file; expected a folder: remove the file or choose another place"
)
_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EROFS: "the file system is mounted read-only; mount it writable or choose another place",
    errno.ENOTDIR: _IS_FILE,
    errno.EEXIST: _IS_FILE,
    errno.EISDIR: "it is a folder; expected a file: remove the folder or choose another name",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ELOOP: "symbolic links form a circle; remove one of them",
    errno.ENOENT: "it does not exist; check the path",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ESTALE: "the network file system was replaced; mount it again and restart",
    errno.EIO: "the disk or the network file system failed; check the kernel log",
}


def storage_error(uri: str, action: str, error: OSError) -> StorageError:
    """Return the error for an ``action`` ("write", "read", ...) at ``uri`` that failed."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = (
            f"user {os.geteuid()} may not do that; change the permissions (also of the folder"
            " above) or choose another place"
        )
    else:
        remedy = _REMEDIES.get(error.errno or 0, "check the path and the file system below it")
    said = error.strerror or str(error) or type(error).__name__
    where = (
        f" ({error.filename})"
        if error.filename and _is_on_the_way(str(error.filename), uri)
        else ""
    )
    return StorageError(f"{uri}: cannot {action}: {said}{where}; {remedy}")


def _is_on_the_way(filename: str, uri: str) -> bool:
    """Return whether ``filename`` is the target, above or below it.

    For a copy to a full disk the system names the file that is copied.
    """
    target = local_path(uri)
    return OWN_PREFIX not in filename and (
        target.is_relative_to(filename) or Path(filename).is_relative_to(target)
    )
