"""``dcgan-train report``: the file it writes, and the metrics it merges."""

import os
import urllib.error
from pathlib import Path

import pytest

from job.cli.main import run_command
from job.run import lease
from job.run.layout import METRICS, METRICS_SEGMENTS
from job.storage.uri import open_store
from tests.cli.test_status import done, half
from tests.launch.program import started
from tests.servers.prometheus import http

__all__ = ["done"]


@pytest.mark.slow
def test_a_report_is_written_to_a_file(done: Path, tmp_path: Path) -> None:
    assert run_command(["report", str(done), "--out", str(tmp_path / "there.html")]) == 0
    page = (tmp_path / "there.html").read_bytes()
    assert page.startswith(b"<!doctype html>")
    assert b'http-equiv="refresh"' not in page


@pytest.mark.slow
def test_a_live_page_follows_the_run_to_its_end(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    start = half(store)
    held = lease.acquire(store, 30.0, note=print)
    files = set(tmp_path.rglob("*"))
    command = ["report", str(tmp_path / "run"), "--watch", "--every", "1"]
    with started(command, tmp_path / "log", os.environ) as program:
        url = program.wait_for_text(r"http://127\.0\.0\.1:\d+/\S+").group()
        with http.open(url, timeout=60) as answer:
            page = answer.read().decode()
        assert '<meta http-equiv="refresh" content="1">' in page
        assert '<span class="badge running">running</span>' in page
        assert set(tmp_path.rglob("*")) - files == {tmp_path / "log"}
        (tmp_path / "run").rename(tmp_path / "gone")  # a store that is away for a while
        program.wait_for_text("trying again every 1 s")
        with http.open(url, timeout=60) as answer:
            assert answer.read().decode() == page
        (tmp_path / "gone").rename(tmp_path / "run")
        start.end("failed", "step 740: generator_loss is nan", 4)
        held.close()
        program.wait_for_text("failed: waiting at most 60 s for a browser to load the last page")
        with http.open(url, timeout=60) as answer:
            page = answer.read().decode()
        assert "step 740: generator_loss is nan" in page
        assert 'http-equiv="refresh"' not in page, "the last page stays in the browser"
        assert program.exit_code() == 0
        with pytest.raises(urllib.error.URLError):
            http.open(url, timeout=60)


@pytest.mark.slow
def test_ctrl_c_ends_a_live_page(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    half(store)
    with (
        lease.acquire(store, 30.0, note=print),
        started(["report", store.uri, "--watch"], tmp_path / "log", os.environ) as program,
    ):
        program.wait_for_text("Ctrl-C ends")
        program.press_ctrl_c()
        assert program.exit_code() == 130


def test_a_file_and_a_live_page_are_one_too_many(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["report", str(done), "--watch", "--out", str(tmp_path / "report.html")]
    assert run_command(command) == 2
    assert "both --watch and --out are given; expected one of them" in capsys.readouterr().err
    assert run_command(["report", str(tmp_path / "none"), "--watch"]) == 3
    assert "none: no run there" in capsys.readouterr().err


@pytest.mark.slow
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


def test_a_report_cannot_be_written_to_a_store(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["report", str(done), "--out", "s3://bucket/report.html"]) == 2
    said = "s3://bucket/report.html is not on this machine; expected a path or file://"
    assert said in capsys.readouterr().err
