"""Local files that appear whole or not at all.

    with whole_file(Path("index.json")) as temporary:
        temporary.write_bytes(b"{}")

A temporary file in the same folder, flushed to the disk and renamed over the target: rename is atomic only within one file system.
"""

import errno
import hashlib
import itertools
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from job.storage.keys import OWN_PREFIX

_FOLDER_ATTEMPTS = 5
_ABANDONED_SECONDS = (
    3600.0  # a writer that cannot be asked and has not written for so long is taken for dead
)
# With the writer's process and where that number counts; older versions wrote neither. boto3 adds a suffix to files it downloads.
_TEMPORARY = re.compile(
    re.escape(OWN_PREFIX)
    + r"(?:(?P<place>[0-9a-f]{8})-(?P<process>\d{1,9})-)?[0-9a-f]{16}(?:\.\w+)?"
)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """An empty temporary file beside ``path`` to fill; it takes that name when the block ends well and is removed when it does not.

    Makes the folders above. Raises ``OSError``; ``path`` then is as it was.
    """
    temporary = path.parent / f"{OWN_PREFIX}{_process_space()}-{os.getpid()}-{secrets.token_hex(8)}"
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


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed writers left in ``folder``, as well as the system lets us; those in use and others' files stay.

    A writer of this machine is asked for by its process id; one of another machine counts as dead when it has not written for an hour.
    """
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if (match := _TEMPORARY.fullmatch(path.name)) and _is_abandoned(
                path, match["place"], match["process"]
            ):
                path.unlink(missing_ok=True)


def open_in_folder(path: Path, flags: int) -> int:
    """A file descriptor of ``path``, making its folder first; repeated when another process removes the empty folder in between."""
    for attempts_left in reversed(range(_FOLDER_ATTEMPTS)):
        try:
            _make_folder(path.parent)
            return os.open(path, flags | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not attempts_left:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, each with its name on the disk: without, all in it would be lost with the power."""
    missing = list(itertools.takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        with suppress(PermissionError):  # what may be written to and not be read cannot be flushed
            _flush(made.parent)


def _is_abandoned(path: Path, place: str | None, process: str | None) -> bool:
    if process is not None and place == _process_space():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            pass
        return False
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS
    except FileNotFoundError:  # finished meanwhile
        return False


@cache
def _process_space() -> str:
    """Names where this process's id counts: the running kernel and, in a container, its process namespace; elsewhere the host's name."""
    try:
        space = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink(
            "/proc/self/ns/pid"
        )
    except OSError:
        space = platform.node()
    return hashlib.sha256(space.encode()).hexdigest()[:8]


def _flush(path: Path) -> None:
    """Push a file's bytes, or a folder's new names, down to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (
            path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)
        ):  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
