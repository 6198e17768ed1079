"""Atomic local files: write a temporary file in the same folder, flush it to the disk, rename it.

    with whole_file(Path("index.json")) as temporary:
        temporary.write_bytes(b"{}")

``whole_folder`` does the same for a new folder with all its files.

A rename is atomic only within one file system.
"""

import errno
import hashlib
import itertools
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from job.storage.keys import OWN_PREFIX

_FOLDER_ATTEMPTS = 5
_ABANDONED_SECONDS = 3600.0  # since its last write, a writer on another host is presumed dead
# Older versions lack the writer's process space and id; boto3 adds a suffix to downloads.
_TEMPORARY = re.compile(
    re.escape(OWN_PREFIX)
    + r"(?:(?P<space>[0-9a-f]{8})-(?P<process>\d{1,9})-)?[0-9a-f]{16}(?:\.\w+)?"
)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside ``path``; then rename it, or remove it on an error.

    Create the folders above. Raise ``OSError``, and leave ``path`` unchanged, if writing fails.
    """
    temporary = path.parent / f"{OWN_PREFIX}{_process_space()}-{os.getpid()}-{secrets.token_hex(8)}"
    os.close(open_in_folder(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        yield temporary
        # The kernel's own times have steps of 4 ms: two versions of a file could have the same.
        stamp = time.time_ns()
        os.utime(temporary, ns=(stamp, stamp))
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; then rename it, or remove it on an error.

    Create the folders above. Raise ``OSError``, and leave ``path`` unchanged, if writing fails or
    ``path`` is there and not an empty folder.
    """
    temporary = path.parent / f"{OWN_PREFIX}folder-{os.getpid()}-{secrets.token_hex(8)}"
    _make_folder(temporary)
    try:
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            _flush(written)
        temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed writers left in ``folder``; ignore errors.

    A writer on this host is looked up by its process id; one on another host counts as dead an hour
    after its last write.
    """
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if (match := _TEMPORARY.fullmatch(path.name)) and _is_abandoned(
                path, match["space"], match["process"]
            ):
                path.unlink(missing_ok=True)


def open_in_folder(path: Path, flags: int) -> int:
    """Return a descriptor of ``path``; create its folder, again if another process removes it."""
    for attempts_left in reversed(range(_FOLDER_ATTEMPTS)):
        try:
            _make_folder(path.parent)
            return os.open(path, flags | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            if not attempts_left:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents, and flush their names, which a power cut would lose."""
    missing = list(itertools.takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for made in reversed(missing):
        with suppress(PermissionError):  # a folder that is writable but not readable
            _flush(made.parent)


def _is_abandoned(path: Path, space: str | None, process: str | None) -> bool:
    if process is not None and space == _process_space():
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
    """Return a hash of the space of process ids: boot id and namespace, or else the host's name."""
    try:
        space = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink(
            "/proc/self/ns/pid"
        )
    except OSError:
        space = platform.node()
    return hashlib.sha256(space.encode()).hexdigest()[:8]


def _flush(path: Path) -> None:
    """Flush a file's bytes, or a folder's new names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot flush a folder.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)
