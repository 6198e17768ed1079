"""What the operating system says about files, turned into errors that say what to do."""

import errno
import os
from pathlib import Path

from job.config.errors import StorageError
from job.storage.keys import OWN_PREFIX
from job.storage.paths import local_path

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EROFS: "the file system is mounted read-only; mount it writable or choose another place",
    errno.ENOTDIR: "a part of the path is a file; expected a folder, so remove the file or choose another place",
    errno.EEXIST: "a part of the path is a file; expected a folder, so remove the file or choose another place",
    errno.EISDIR: "there is a folder of that name; expected a file, so remove the folder or choose another name",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ELOOP: "symbolic links lead round in a circle; remove one of them",
    errno.ENOENT: "it does not exist; check the path",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ESTALE: "the network file system was replaced under this process; mount it again and start again",
    errno.EIO: "the disk or the network file system failed; look at the kernel log",
}


def storage_error(uri: str, action: str, error: OSError) -> StorageError:
    """The error for an ``action`` ("write", "read", ...) at ``uri`` that ended in ``error``."""
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"user {os.geteuid()} may not do that; change the permissions (also of the folder above) or choose another place"
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
    """Whether the file that the system names is the target, above or below it: a copy to a full disk is blamed on the file copied from."""
    target = local_path(uri)
    return OWN_PREFIX not in filename and (
        target.is_relative_to(filename) or Path(filename).is_relative_to(target)
    )
