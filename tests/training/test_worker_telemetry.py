"""A worker's telemetry: requests, diversity, hangs, and a last scrape after the end.

As a program, ``python -m tests.training.test_worker_telemetry FOLDER``, it is a worker that hangs.
"""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from job.config.errors import ConfigError
from job.config.load import load_run
from job.run.metric_rows import metric_files
from job.run.process_records import process_records
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.telemetry.watchdog import EXIT_CODE
from job.tracking.tracker import CLOSE_SECONDS
from job.training.listeners import Driver, Listeners, Requests
from job.training.topology import Topology
from job.training.tracking import RECORDS_SECONDS
from job.training.worker_telemetry import worker_telemetry
from tests.servers.prometheus import http, wait_for
from tests.streaming.sets import pack_numbered
from tests.telemetry.step_reports import report

ATTEMPT = "20260102T030405Z-005"


class Notes(Driver):
    """A driver that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


@contextmanager
def telemetry(
    folder: Path, driver: Notes, *settings: str, store: ObjectStore | None = None
) -> Iterator[Listeners]:
    """The telemetry of a chief; with the ``store`` of its run folder also history and tracking."""
    spec = load_run(
        "notebook",
        overrides=[f"uri={folder}/one", f"data.uri={folder}", "metrics.port=0", *settings],
    )
    index = pack_numbered(folder, num_images=24)
    with (
        process_records(spec, store, ATTEMPT, "rank000") if store else nullcontext() as records,
        worker_telemetry(
            spec,
            Topology(0, 2, restarts=5),
            index,
            driver,
            lambda text: None,
            target_world_size=4,
            num_hangs=3,
            records=records,
            store=store,
        ) as (listeners, _),
    ):
        yield listeners


def scrape(driver: Notes) -> dict[str, float]:
    """The series of this worker's server, without ``run`` and ``rank``."""
    return scrape_port(next(port_in(note) for note in driver.notes if "/metrics" in note))


def port_in(note: str) -> int:
    return int(re.findall(r"http://\S+:(\d+)/metrics", note)[0])


def scrape_port(port: int) -> dict[str, float]:
    with http.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    lines = re.findall(r"^(dcgan_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE)
    return {
        f"{name} {re.sub(r'(rank|run)=[^,]*,?', '', labels)}".rstrip(", "): float(value)
        for name, labels, value in lines
    }


def test_a_request_counts_once_however_long_it_lasts(tmp_path: Path) -> None:
    going, stop = Requests(save=True), Requests(save=True, stop=True)
    driver = Notes()
    with telemetry(tmp_path, driver) as listeners:
        for requests in (Requests(), going, going, stop, stop):
            listeners.on_requests(requests)
        series = scrape(driver)
    assert series['dcgan_preemptions_total reason="node"'] == 1
    assert series['dcgan_preemptions_total reason="stop"'] == 1


def test_what_the_run_is_configured_for_is_there_from_the_start(tmp_path: Path) -> None:
    driver = Notes()
    with telemetry(tmp_path, driver, "checkpoints.every_steps=70"):
        series = scrape(driver)
    names = (
        "world_size",
        "target_world_size",
        "checkpoint_every_steps",
        "hangs_total",
        "restarts_total",
    )
    assert [series[f"dcgan_{name}"] for name in names] == [2, 4, 70, 3, 5]


@pytest.mark.slow
def test_the_chief_has_the_goodput_of_the_run(tmp_path: Path) -> None:
    driver, store = Notes(), open_store(str(tmp_path / "run"))
    with telemetry(tmp_path, driver, "history.every_seconds=1", store=store) as listeners:

        def goodput() -> float | None:
            listeners.on_report(report(), 20)
            return scrape(driver).get("dcgan_goodput_ratio")

        wait_for("the goodput", goodput, 30)


def test_two_runs_on_one_machine_have_ports_and_one_of_your_own_is_strict(tmp_path: Path) -> None:
    first, second = Notes(), Notes()
    with (
        telemetry(tmp_path / "1", first, "metrics.port=null"),
        telemetry(tmp_path / "2", second, "metrics.port=null"),
    ):
        ports = [port_in(driver.notes[0]) for driver in (first, second)]
        assert ports[1] not in (9400, ports[0])
        assert scrape(second)["dcgan_world_size"] == 2
        refusal = pytest.raises(ConfigError, match=rf"metrics\.port {ports[0]} is taken by ")
        with refusal, telemetry(tmp_path / "3", Notes(), f"metrics.port={ports[0]}"):
            pass


@pytest.mark.parametrize(
    ("host", "at"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", None), ("null", None)]
)
def test_metrics_are_served_at_the_host_that_is_set(
    tmp_path: Path, host: str, at: str | None
) -> None:
    driver = Notes()
    with telemetry(tmp_path, driver, f"metrics.host={host}"):
        found, port = re.findall(r"http://(\S+):(\d+)/metrics", driver.notes[0])[0]
        assert at in (None, found)
        others = [
            address[4][0]
            for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        ] + ["127.0.0.2"]
        for other in others:
            if at is None or other == at:
                socket.create_connection((other, int(port)), timeout=5).close()
            else:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((other, int(port)), timeout=5)


def test_diversity_is_of_a_grid_beside_the_data(tmp_path: Path) -> None:
    driver, random = Notes(), np.random.default_rng(0)
    varied = random.integers(0, 256, (25, 8, 8, 1), np.uint8)
    with telemetry(tmp_path, driver) as listeners:
        listeners.on_first_images(varied)
        listeners.on_grid(0, varied)
        assert "dcgan_sample_diversity" not in scrape(driver)  # the generator is untrained
        listeners.on_grid(100, varied[:1].repeat(25, axis=0))
        series = scrape(driver)
    assert series["dcgan_sample_diversity"] == 0
    assert series["dcgan_data_diversity"] > 0.2


def test_diversity_of_a_conditional_run_is_that_within_a_class(tmp_path: Path) -> None:
    driver, random = Notes(), np.random.default_rng(0)
    one_each = random.integers(0, 256, (10, 8, 8, 1), np.uint8).repeat(5, axis=0)
    with telemetry(tmp_path, driver, "model.conditional=true") as listeners:
        listeners.on_first_images(one_each[:40], np.arange(40) % 5)
        listeners.on_grid(100, one_each)
        series = scrape(driver)
    assert series["dcgan_sample_diversity"] == 0
    assert series["dcgan_data_diversity"] > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 1])
def test_the_last_values_stay_for_a_while(seconds: int, tmp_path: Path) -> None:
    driver = Notes()
    with telemetry(tmp_path, driver, f"metrics.linger_seconds={seconds}") as listeners:
        listeners.on_phase("done")
        scrape(driver)
        lingering = threading.Thread(target=listeners.on_finish)
        lingering.start()
        lingering.join(0.5)
        assert lingering.is_alive() == (seconds > 0)
        assert scrape(driver)['dcgan_phase phase="done"'] == 1
        lingering.join(10)
        assert not lingering.is_alive()


@pytest.mark.slow
def test_after_a_stop_the_last_values_stay_within_the_grace(tmp_path: Path) -> None:
    driver = Notes()
    with telemetry(
        tmp_path, driver, "metrics.linger_seconds=30", "checkpoints.grace_seconds=6"
    ) as listeners:
        scrape(driver)
        listeners.on_requests(Requests(stop=True))
        started = time.monotonic()
        listeners.on_finish()
        assert 0.5 < time.monotonic() - started < 3


def test_nobody_is_waited_for_who_never_scraped(tmp_path: Path) -> None:
    with telemetry(tmp_path, Notes(), "metrics.linger_seconds=30") as listeners:
        started = time.monotonic()
        listeners.on_finish()
        assert time.monotonic() - started < 1


@contextmanager
def tracked_by_a_service_that_hangs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *settings: str
) -> Iterator[tuple[Listeners, ObjectStore, threading.Event]]:
    """Yield a run after its last report, its folder, and an event that lets the service answer."""
    answers, library = threading.Event(), ModuleType("trackio")
    library.init = lambda **_: answers.wait(60)
    monkeypatch.setitem(sys.modules, "trackio", library)
    store = open_store(f"{folder}/one")
    rarely = ("history.every_seconds=1000", "tracking.service=trackio")
    with telemetry(folder, Notes(), *rarely, *settings, store=store) as listeners:
        for step in (20, 40):
            listeners.on_report(report(step=step), 20)
        yield listeners, store, answers


def test_the_records_of_a_run_do_not_wait_for_its_tracking_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        run = stack.enter_context(tracked_by_a_service_that_hangs(tmp_path, monkeypatch))
        ending = threading.Thread(target=stack.pop_all().close)
    _, store, answers = run

    def has_last_row() -> bool:
        return any(b'"step":40' in store.read(file.key) for file in metric_files(store))

    ending.start()
    wait_for("the last row", has_last_row)
    assert "trackio did not take" not in caplog.text  # it is still waited for
    answers.set()
    ending.join(60)


def test_after_a_stop_a_tracking_service_is_waited_for_within_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace = f"checkpoints.grace_seconds={RECORDS_SECONDS + 0.1}"
    with tracked_by_a_service_that_hangs(tmp_path, monkeypatch, grace) as (listeners, _, _):
        listeners.on_requests(Requests(stop=True))
        listeners.on_finish()
        began = time.monotonic()
    assert time.monotonic() - began < CLOSE_SECONDS / 2


def test_the_end_is_tracked_while_the_last_values_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_sent, library, driver = threading.Event(), ModuleType("trackio"), Notes()
    tracked_run = SimpleNamespace(log=lambda values, step: None, finish=is_sent.set)
    library.init = lambda **_: tracked_run
    monkeypatch.setitem(sys.modules, "trackio", library)
    store = open_store(f"{tmp_path}/one")
    settings = ("metrics.linger_seconds=60", "tracking.service=trackio")
    with telemetry(tmp_path, driver, *settings, store=store) as listeners:
        scrape(driver)
        threading.Thread(target=listeners.on_finish, daemon=True).start()
        assert is_sent.wait(30)


@pytest.mark.slow
def test_a_hang_is_counted_while_its_process_still_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.training.test_worker_telemetry", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout
            port = port_in(process.stdout.readline())
            wait_for("the hang to be counted", lambda: scrape_port(port)["dcgan_hangs_total"] == 4)
            assert process.wait(30) == EXIT_CODE
        finally:
            process.kill()


def hang(folder: Path) -> None:
    driver = Notes()
    with telemetry(
        folder, driver, "watchdog.train_seconds=1", "data.fetch_patience_seconds=0.5"
    ) as listeners:
        sys.stdout.write(driver.notes[0] + "\n")
        sys.stdout.flush()
        listeners.on_phase("train")
        time.sleep(60)


if __name__ == "__main__":
    hang(Path(sys.argv[1]))
