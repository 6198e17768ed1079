"""Local stores: several processes, links, and files where folders are expected."""

import fcntl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.storage.local import LocalStore


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
            match=(
                rf"file://{tmp_path}/a: cannot write: Is a directory; it is a folder; expected a"
                r" file"
            ),
        ):
            use()
    assert [info.key for info in store.list()] == ["a/b"]


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
