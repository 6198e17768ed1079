"""A file is written through links and pipes, which stay."""

import os
import threading
from pathlib import Path

import pytest

from job.cli.output_file import write_file
from job.config.errors import StorageError


def test_what_a_link_points_to_is_written(tmp_path: Path, capsys) -> None:
    (tmp_path / "there.html").write_text("before")
    (tmp_path / "link.html").symlink_to("there.html")
    write_file(tmp_path / "link.html", b"<!doctype html>")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "there.html").read_bytes() == b"<!doctype html>"
    assert capsys.readouterr().out == f"{tmp_path}/link.html\n"


def test_a_pipe_is_written_and_stays(tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_file(tmp_path / "pipe", b"<!doctype html>")
    reader.join(60)
    assert read == [b"<!doctype html>"]
    assert (tmp_path / "pipe").is_fifo()
    assert capsys.readouterr().err == f"{tmp_path}/pipe\n"


def test_a_device_that_fails_is_an_error() -> None:
    with pytest.raises(StorageError, match="/dev/full: cannot write"):
        write_file(Path("/dev/full"), b"page")
