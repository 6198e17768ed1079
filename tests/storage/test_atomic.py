"""Atomic files: whole after a kill or a power cut, and leftovers removed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job.storage.atomic import remove_leftovers, whole_file, whole_folder
from job.storage.local import LocalStore
from tests.disks import mounted


def test_a_writer_killed_in_the_middle_leaves_the_old_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("k", b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from job.storage.atomic import"
        " whole_file\n"
        "with whole_file(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "k"], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    # The half-written file stays, under a name that is not an object.
    assert len(list(tmp_path.iterdir())) == 2
    assert [info.key for info in store.list()] == ["k"]
    assert store.read("k") == b"old"


def test_leftovers_are_removed_and_files_in_use_kept(tmp_path: Path) -> None:
    foreign, older = ".~00000000-1-0123456789abcdef", ".~0123456789abcdef"
    names = {foreign, f"{foreign}.1a2B3c4D", older, ".~lock", ".~own", "shard-00000.u8"}

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
            ".~own",
            "shard-00000.u8",
        }  # its writer lives, however long it writes nothing
        (tmp_path / temporary.name.replace(f"-{os.getpid()}-", f"-{dead_process()}-")).touch()
        assert left() == {temporary.name, ".~lock", ".~own", "shard-00000.u8"}
    assert left() == {"k", ".~lock", ".~own", "shard-00000.u8"}
    remove_leftovers(tmp_path / "none")


def dead_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_writes_within_a_tick_of_the_kernel_have_different_times(tmp_path: Path) -> None:
    """A file may reuse the inode of the old one: with equal sizes, only the time differs.

    On ramfs, because Linux 6.13 and later give the disk file systems finer stamps by themselves.
    """
    with mounted(tmp_path / "disk", "ramfs") as disk:
        store = LocalStore(disk)
        for number in range(100):
            store.write(f"{number}", b"data")
        assert len({path.stat().st_mtime_ns for path in disk.iterdir()}) == 100


def test_new_folders_are_on_the_disk_before_the_files_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut loses a flushed file if the name of its folder was not flushed."""
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


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "new" / "model") as temporary:
        (temporary / "variables").mkdir()
        (temporary / "variables" / "data").write_bytes(b"data")
        assert not (tmp_path / "new" / "model").exists()
        assert list(LocalStore(tmp_path).list()) == []
    assert (tmp_path / "new" / "model" / "variables" / "data").read_bytes() == b"data"
    assert len(list((tmp_path / "new").iterdir())) == 1

    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "failed") as temporary:
        (temporary / "absent" / "data").touch()
    with pytest.raises(OSError), whole_folder(tmp_path / "new" / "model"):
        pass
    assert {path.name for path in tmp_path.rglob("*")} == {"new", "model", "variables", "data"}
