"""What only a folder can go through: full and read-only disks, killed writers, several processes."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.storage.atomic import remove_leftovers, whole_file
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
    expected = rf"file://{small_disk}/store/k: cannot .*: No space left on device.*; the disk is full; free some space"
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
            match=rf"file://{small_disk}/.*: Read-only file system.*; the file system is mounted read-only",
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
            match=rf"Permission denied.*; user {user or nobody} may not do that; change the permissions",
        ):
            LocalStore(tmp_path).write("k", b"")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    store = LocalStore(tmp_path / "file")
    for ask in (lambda: store.read("k"), lambda: store.stat("k"), lambda: store.delete("k")):
        with pytest.raises(
            StorageError, match=f"file://{tmp_path}/file: found a file; expected a folder"
        ):
            ask()
    for use in (
        lambda: store.write("k", b""),
        lambda: store.write_if("k", b"", None),
        lambda: list(store.list()),
    ):
        with pytest.raises(
            StorageError,
            match=rf"file://{tmp_path}/file.*a part of the path is a file; expected a folder",
        ):
            use()
    below = LocalStore(tmp_path / "file" / "store")
    with pytest.raises(StorageError, match="a part of the path is a file; expected a folder"):
        below.write("k", b"")


def test_a_folder_in_the_place_of_an_object_is_named(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b", b"")
    for use in (lambda: store.write("a", b""), lambda: store.write_if("a", b"", None)):
        with pytest.raises(
            StorageError,
            match=rf"file://{tmp_path}/a: cannot write: Is a directory; it is a folder; expected a file",
        ):
            use()
    assert [info.key for info in store.list()] == ["a/b"]


def test_a_writer_killed_in_the_middle_leaves_the_old_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("k", b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from job.storage.atomic import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "k"], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    assert (
        len(list(tmp_path.iterdir())) == 2
    )  # the half-written file stays, under a name that is no object
    assert [info.key for info in store.list()] == ["k"]
    assert store.read("k") == b"old"


def test_leftovers_are_told_from_files_in_use(tmp_path: Path) -> None:
    foreign, older = ".~00000000-1-0123456789abcdef", ".~0123456789abcdef"
    names = {foreign, f"{foreign}.1a2B3c4D", older, ".~lock", ".~mine", "shard-00000.u8"}

    def left() -> set[str]:
        remove_leftovers(tmp_path)
        return {path.name for path in tmp_path.iterdir()}

    assert left() == set()
    for name in names:
        (tmp_path / name).touch()
    assert left() == names
    with whole_file(tmp_path / "k") as temporary:
        for path in tmp_path.iterdir():
            os.utime(path, (time.time() - 4000, time.time() - 4000))
        assert left() == {
            temporary.name,
            ".~lock",
            ".~mine",
            "shard-00000.u8",
        }  # its writer lives, however long it writes nothing
        (tmp_path / temporary.name.replace(f"-{os.getpid()}-", f"-{dead_process()}-")).touch()
        assert left() == {temporary.name, ".~lock", ".~mine", "shard-00000.u8"}
    assert left() == {"k", ".~lock", ".~mine", "shard-00000.u8"}
    remove_leftovers(tmp_path / "none")


def dead_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_processes_race_for_one_object_without_losing_an_update(tmp_path: Path) -> None:
    num_processes, num_additions = 4, 50
    LocalStore(tmp_path).write("sum", b"0")
    program = (
        "import sys; from pathlib import Path; from job.storage.local import LocalStore\n"
        "store, done = LocalStore(Path(sys.argv[1])), 0\n"
        f"while done < {num_additions}:\n"
        "    tag = store.stat('sum').etag\n"
        "    done += store.write_if('sum', b'%d' % (int(store.read('sum')) + 1), tag) is not None\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path]) for _ in range(num_processes)
    ]
    try:
        assert [process.wait(60) for process in running] == [0] * num_processes
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert LocalStore(tmp_path).read("sum") == b"%d" % (num_processes * num_additions)


def test_writes_within_a_tick_of_the_kernel_have_times_of_their_own(tmp_path: Path) -> None:
    """A file may get the inode of the one it replaces: where the size is the same too, only the time tells two writes apart.

    On ramfs, because Linux 6.13 and later give the disk file systems finer stamps by themselves.
    """
    with mounted(tmp_path / "disk", "ramfs") as disk:
        store = LocalStore(disk)
        for number in range(100):
            store.write(f"{number}", b"data")
        assert len({path.stat().st_mtime_ns for path in disk.iterdir()}) == 100


def test_a_plain_write_waits_for_a_conditional_one(tmp_path: Path) -> None:
    """Else it could fall between the comparison and the replacement, and be lost."""
    store = LocalStore(tmp_path)
    store.write_if("lease", b"old", None)
    written = threading.Event()

    def write() -> None:
        store.write("lease", b"new")
        written.set()

    with (tmp_path / ".~lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        writer = threading.Thread(target=write)
        writer.start()
        assert not written.wait(0.2)
        assert store.read("lease") == b"old"
    writer.join()
    assert store.read("lease") == b"new"


def test_a_folder_goes_with_its_last_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "root")
    store.write("checkpoints/step-1/state", b"")
    store.write("checkpoints/step-2/state", b"")
    store.delete("checkpoints/step-1/state")
    assert [path.name for path in (tmp_path / "root/checkpoints").iterdir()] == ["step-2"]
    store.delete("checkpoints/step-2/state")
    assert list((tmp_path / "root").iterdir()) == []


def test_new_folders_are_on_the_disk_before_the_files_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose folder's name was not flushed is lost with the power, however often the file was."""
    flushed: list[Path] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    store = LocalStore(tmp_path / "runs/one")
    store.write("a/b/k", b"data")
    assert flushed[:4] == [
        tmp_path,
        tmp_path / "runs",
        tmp_path / "runs/one",
        tmp_path / "runs/one/a",
    ]
    assert flushed[-1] == tmp_path / "runs/one/a/b"
    flushed.clear()
    store.write_if("a/c/k", b"data", None)
    store.write("a/b/k2", b"data")
    assert flushed.count(tmp_path / "runs/one/a") == 1
    assert tmp_path not in flushed


def test_files_are_as_readable_as_the_user_wants(tmp_path: Path) -> None:
    """Not the 0600 of most temporary files: another user's job reads the shards."""
    umask = os.umask(0o027)
    try:
        LocalStore(tmp_path).write("k", b"")
    finally:
        os.umask(umask)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o640


def test_links_are_followed_and_a_circle_is_named(tmp_path: Path) -> None:
    LocalStore(tmp_path / "elsewhere").write("k", b"linked")
    store = LocalStore(tmp_path / "store")
    store.write("own", b"")
    (tmp_path / "store/link").symlink_to(tmp_path / "elsewhere")
    assert [info.key for info in store.list()] == ["link/k", "own"]
    assert store.read("link/k") == b"linked"
    (tmp_path / "store/circle").symlink_to("circle")
    with pytest.raises(StorageError, match="symbolic links form a circle"):
        store.read("circle")
