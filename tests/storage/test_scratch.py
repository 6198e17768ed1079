"""The temporary folder: removed after use, and an error that names TMPDIR."""

import errno
import tempfile
from pathlib import Path

import pytest

from job.config.errors import DataError, StorageError
from job.storage.scratch import scratch_folder


@pytest.fixture(autouse=True)
def _tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_folder_is_removed_even_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch_folder() as folder:
            (folder / "part").write_bytes(b"x")
            assert folder.parent == tmp_path
            raise DataError("not of the disk")

    with pytest.raises(DataError, match="not of the disk"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tmpdir_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with (
        pytest.raises(StorageError, match=f"{tmp_path}/gone: cannot hold .*No such file.*TMPDIR"),
        scratch_folder(),
    ):
        pass


def test_a_full_disk_is_blamed_on_tmpdir(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=f"{tmp_path}: cannot hold a temporary file .No space"),
        scratch_folder(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
