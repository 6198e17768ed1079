"""Errors of the operating system: full and read-only disks, missing permissions."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.storage.local import LocalStore
from job.storage.os_errors import storage_error
from tests.disks import mounted

MOUNT_BYTES = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with mounted(tmp_path / "disk", "tmpfs", "-o", f"size={MOUNT_BYTES}") as folder:
        yield folder


def tag_of(store: LocalStore, key: str) -> str:
    info = store.stat(key)
    assert info is not None
    return info.etag


def test_a_full_disk_leaves_what_was_there(small_disk: Path, tmp_path: Path) -> None:
    store = LocalStore(small_disk / "store")
    store.write("k", b"old")
    big = tmp_path / "big"
    big.write_bytes(bytes(2 * MOUNT_BYTES))
    expected = (
        rf"file://{small_disk}/store/k: cannot .*: No space left on device.*; the disk is full;"
        r" free some space"
    )
    for use in (
        lambda: store.write("k", bytes(2 * MOUNT_BYTES)),
        lambda: store.write_if("k", bytes(2 * MOUNT_BYTES), tag_of(store, "k")),
        lambda: store.upload(big, "k"),
    ):
        with pytest.raises(StorageError, match=expected):
            use()
        assert store.read("k") == b"old"
    assert [path.name for path in (small_disk / "store").iterdir() if path.name != ".~lock"] == [
        "k"
    ]


def test_a_full_disk_is_blamed_and_not_the_file_copied(small_disk: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(2 * MOUNT_BYTES))
    expected = (
        f"file://{small_disk}/k: cannot upload {big}: No space left on device; the disk is full"
    )
    with pytest.raises(StorageError, match=f"^{expected}"):
        LocalStore(small_disk).upload(big, "k")


def test_an_error_names_the_folder_above_or_below_that_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StorageError, match=rf"File exists \({tmp_path}/file\)|Not a directory \({tmp_path}/file"
    ):
        LocalStore(tmp_path / "file").write("k", b"")
    error = PermissionError(errno.EACCES, "Permission denied", f"{tmp_path}/store/below")
    assert f"Permission denied ({tmp_path}/store/below)" in str(
        storage_error(f"file://{tmp_path}/store", "list", error)
    )


def test_a_read_only_disk_is_named(small_disk: Path, tmp_path: Path) -> None:
    store = LocalStore(small_disk)
    store.write("k", b"old")
    (tmp_path / "source").touch()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for use in (
        lambda: store.write("k", b"new"),
        lambda: store.write_if("other", b"new", None),
        lambda: store.upload(tmp_path / "source", "k"),
        lambda: store.delete("k"),
    ):
        with pytest.raises(
            StorageError,
            match=(
                rf"file://{small_disk}/.*: Read-only file system.*; the file system is mounted"
                r" read-only"
            ),
        ):
            use()
    assert store.read("k") == b"old"
    assert [info.key for info in store.list()] == ["k"]


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    user, nobody = os.geteuid(), 65534
    tmp_path.chmod(0o500)
    if user == 0:  # who may write anywhere
        os.seteuid(nobody)
    try:
        with pytest.raises(
            StorageError,
            match=(
                rf"Permission denied.*; user {user or nobody} may not do that; change the"
                r" permissions"
            ),
        ):
            LocalStore(tmp_path).write("k", b"")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
