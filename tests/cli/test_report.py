"""``dcgan-train report``: the file it writes, and the metrics it merges."""

import os
import threading
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.run import lease
from job.run.layout import METRICS, METRICS_SEGMENTS
from job.storage.uri import open_store
from tests.cli.test_status import done, half

__all__ = ["done"]


def test_a_report_is_written_through_a_link_and_into_a_pipe(done: Path, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("before")
    (tmp_path / "link.html").symlink_to("there.html")
    assert run_command(["report", str(done), "--out", str(tmp_path / "link.html")]) == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "there.html").read_bytes().startswith(b"<!doctype html>")

    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert run_command(["report", str(done), "--out", str(tmp_path / "pipe")]) == 0
    reader.join(60)
    assert read[0].startswith(b"<!doctype html>")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_report_merges_the_metrics_of_a_run_that_ended(tmp_path: Path, has_ended: bool) -> None:
    store = open_store(str(tmp_path / "run"))
    start = half(store)
    if has_ended:
        start.end("stopped")
    with lease.acquire(store, 30.0, note=print):
        assert run_command(["report", str(tmp_path / "run")]) == 0
    assert bool(store.stat(METRICS)) == has_ended
    assert bool(list(store.list(METRICS_SEGMENTS))) == (not has_ended)
