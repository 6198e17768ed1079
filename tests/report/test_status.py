"""A run's status from its folder: every state, few requests, and no content breaks it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.report.html_report import build_report
from job.report.status import RunStatus, read_status
from job.run import attempts, lease
from job.run.holder import new_holder
from job.run.layout import CONFIGURATION, LEASE, STATUS, grid_key, start_key
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.checkpoints.saves import Breaking, save
from tests.report.runs import (
    BEGIN,
    METRICS_URL,
    TOTAL,
    Clock,
    configuration,
    done_run,
    facts,
    started,
    troubled_run,
)
from tests.run.stored import FIRST

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "run"
    done_run(open_store(str(folder)))
    return folder


@pytest.fixture
def copy_of_done(done: Path, tmp_path: Path) -> ObjectStore:
    shutil.copytree(done, tmp_path / "copy")
    return open_store(str(tmp_path / "copy"))


def halfway(store: ObjectStore, *, until: int = 2400) -> attempts.Attempt:
    start = attempts.begin(store, facts())
    store.write(CONFIGURATION, configuration())
    with started(
        store, start.stamp, 0, Clock(datetime.now(UTC).timestamp() - until / 20)
    ) as course:
        course.sample()
        course.train(until)
    return start


def test_a_run_with_a_live_lease_is_running(store: ObjectStore) -> None:
    halfway(store)
    with lease.acquire(store, 30.0, note=print):
        found = read_status(store)
    assert (found.state, found.phase, found.step, found.total_steps) == (
        "running",
        "train",
        2400,
        TOTAL,
    )
    assert found.checkpoint_step == 2000
    assert found.grid == f"{store.uri}/{grid_key(2000)}"
    assert found.world_size == 2
    assert found.metrics_url == METRICS_URL
    assert found.step_seconds == pytest.approx(0.054)
    assert found.images_per_second == pytest.approx(1185, rel=0.1)
    assert found.seconds_left == pytest.approx((TOTAL - 2400) * 64 / found.images_per_second)
    assert 0 <= found.reported_seconds_ago < 60
    assert found.curves["step"][0] == 20
    assert found.curves["step"] == sorted(found.curves["step"])
    assert len(found.curves["generator_loss"]) == len(found.curves["step"]) > 50
    assert found.values["dcgan_images_total"] == 2400 * 64


@pytest.mark.slow
def test_goodput_is_that_of_the_record_and_of_the_end(folder: ObjectStore) -> None:
    clock = Clock()  # of the same time as FIRST
    with started(folder, FIRST, 0, clock) as course:
        course.train(2000)
    folder.write(start_key(datetime.fromtimestamp(BEGIN, UTC)), b"{}")
    found = read_status(folder)
    assert found.goodput_seconds["seconds"] == 100
    end = {"end": {"outcome": "stopped", "time": "2026-01-02T03:05:00Z"}}
    folder.write(start_key(datetime.fromtimestamp(BEGIN, UTC)), json.dumps(end).encode())
    found = read_status(folder)
    assert found.goodput_seconds["seconds"] == 300
    assert found.goodput == pytest.approx(1980 * 0.054 / 300, abs=1e-3)
    tile = f"<span>goodput</span><b>{found.goodput:.0%}</b>"
    assert tile in build_report(folder).decode()
    stored = json.loads(folder.read(STATUS))
    del stored["goodput"]
    folder.write(STATUS, json.dumps(stored).encode())
    old = read_status(folder)
    assert (old.goodput, old.goodput_seconds) == (None, {})


@pytest.mark.slow
def test_a_report_without_steps_keeps_the_times_of_the_one_before(folder: ObjectStore) -> None:
    halfway(folder, until=2000)  # its last report is of the checkpoint
    found = read_status(folder)
    assert json.loads(folder.read(STATUS))["progress"]["phase"] == "checkpoint"
    assert (found.step_seconds, found.data_wait_seconds) == pytest.approx((0.054, 0.004))


def test_an_attempt_without_a_report_is_starting(folder: ObjectStore) -> None:
    halfway(folder)
    attempts.begin(folder, facts(2000))
    with lease.acquire(folder, 30.0, note=print):
        found = read_status(folder)
    assert (found.state, found.step, found.num_starts, found.seconds_left) == (
        "starting",
        2000,
        2,
        None,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcome", "why"),
    [("stopped", ""), ("failed", "step 740: generator_loss is nan"), ("done", "")],
)
def test_the_recorded_end_is_the_state(
    folder: ObjectStore, outcome: attempts.Outcome, why: str
) -> None:
    start = halfway(folder)
    start.end(outcome, why, 4)
    found = read_status(folder)
    assert (found.state, found.why, found.checkpoint_step) == (outcome, why, 2000)
    assert found.is_over
    with lease.acquire(folder, 30.0, note=print):
        assert read_status(folder).state == outcome, "the lease lives a moment longer than the run"


@pytest.mark.slow
def test_a_lease_that_is_not_renewed_is_stale_until_it_moves(folder: ObjectStore) -> None:
    halfway(folder)
    holder = new_holder(30.0)
    old = (datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="seconds")
    stored = json.loads(holder.to_json()) | {"host": "elsewhere", "renewed": old, "since": old}
    folder.write(LEASE, json.dumps(stored).encode())
    found = read_status(folder)
    assert found.state == "stale"
    assert re.search(r"not renewed for 6\d\d s", found.why)
    folder.write(LEASE, json.dumps(stored | {"number": 2}).encode())
    assert read_status(folder, found).state == "running", "only its clock is wrong"
    assert read_status(folder).state == "stale"


@pytest.mark.slow
def test_a_dead_program_of_this_machine_is_stale_at_once(folder: ObjectStore) -> None:
    halfway(folder)
    code = (
        "import sys; from job.run.holder import new_holder;"
        "sys.stdout.buffer.write(new_holder(30.0).to_json())"
    )
    folder.write(
        LEASE,
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True
        ).stdout,
    )
    found = read_status(folder)
    assert found.state == "stale"
    assert found.why.startswith("its program is gone: process ")


def test_without_a_lease_a_recent_report_counts(folder: ObjectStore) -> None:
    halfway(folder)
    assert read_status(folder).state == "running"
    stored = json.loads(folder.read(STATUS))
    folder.write(STATUS, json.dumps(stored | {"time": "2026-01-02T03:04:05Z"}).encode())
    found = read_status(folder)
    assert (found.state, found.why) == ("stale", "its program died without recording an end")


def test_incidents_are_counted(store: ObjectStore) -> None:
    troubled_run(store)
    found = read_status(store)
    assert (found.state, found.num_starts, found.restarts, found.rollbacks, found.hangs) == (
        "done",
        2,
        1,
        1,
        1,
    )
    assert found.curves["step"][0] < 2000, "curves begin before the last attempt"
    assert found.curves["step"] == sorted(found.curves["step"])


def test_a_run_without_attempts_has_the_step_of_its_checkpoint(folder: ObjectStore) -> None:
    folder.write(CONFIGURATION, configuration())
    folder.write("summary.json", b'{"steps": 300}')
    save(folder, 100, 300)
    found = read_status(folder)
    assert (found.state, found.step, found.checkpoint_step) == ("done", None, 300)


def test_a_folder_without_a_run_is_an_error(folder: ObjectStore) -> None:
    with pytest.raises(StorageError, match="no run there; expected a run folder"):
        read_status(folder)


@pytest.mark.slow
def test_watching_lists_no_long_folder(folder: ObjectStore) -> None:
    halfway(folder)
    for step in range(0, 3000, 10):
        folder.write(grid_key(step), b"")
    listed: list[str] = []

    class Counting(Breaking):
        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            listed.append(prefix)
            return super().list(prefix)

    counting = Counting(folder, lambda number, name: None)
    with lease.acquire(folder, 30.0, note=print):
        found = read_status(counting)
        first = counting.requests
        again = read_status(counting, found)
    assert counting.requests - first <= 10
    assert listed[-3:] == ["starts/", "divergences/", "hangs/"]
    assert (again.checkpoint_step, again.grid) == (2000, f"{folder.uri}/{grid_key(2000)}")


def _numbers_for_texts(stored: dict[str, object]) -> dict[str, object]:
    return dict.fromkeys(stored, 7)


def _texts_for_numbers(stored: dict[str, object]) -> dict[str, object]:
    return dict.fromkeys(stored, "<b>")


def _bad_inside(stored: dict[str, object]) -> dict[str, object]:
    return stored | {
        "progress": {
            "step": -1,
            "total_steps": 1e400,
            "epoch": True,
            "images_per_second": "many",
            "phase": "\x1b[31m" * 99,
        },
        "curves": {"step": [1, 2], "generator_loss": [1], "discriminator_loss": ["a", None]},
        "values": {"a": [], "b": 10**400},
        "grid": "../../etc/passwd",
        "checkpoint_time": "yesterday",
    }


@pytest.mark.parametrize("change", [_numbers_for_texts, _texts_for_numbers, _bad_inside])
@pytest.mark.parametrize("key", [STATUS, "starts", "summary.json"])
def test_no_content_breaks_it(
    copy_of_done: ObjectStore, key: str, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    folder = copy_of_done
    folder.write("summary.json", b'{"steps": 6000}')
    key = next(iter(folder.list("starts/"))).key if key == "starts" else key
    folder.write(key, json.dumps(change(json.loads(folder.read(key)))).encode())
    found = read_status(folder)
    assert isinstance(found, RunStatus)
    assert "\x1b" not in found.phase
    assert found.grid is None or found.grid.startswith(folder.uri)


@pytest.mark.parametrize("key", [STATUS, "starts", "summary.json", LEASE, CONFIGURATION])
@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe", b"[" * 100_000, b"null", b"[1]", b'{"end": 1}'],
    ids=["empty", "binary", "deep", "null", "list", "end"],
)
def test_no_bytes_break_it(copy_of_done: ObjectStore, key: str, data: bytes) -> None:
    folder = copy_of_done
    folder.write(next(iter(folder.list("starts/"))).key if key == "starts" else key, data)
    assert read_status(folder).state in ("done", "stale")
