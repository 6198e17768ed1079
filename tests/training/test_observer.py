"""What an observer tells its worker's metrics: wishes from outside, diversity, a hang, and a last scrape after the end.

As a program, ``python -m tests.training.test_observer FOLDER``, it is a worker that hangs.
"""

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError
from job.config.load import load_run
from job.telemetry.step_report import StepReport
from job.telemetry.watchdog import EXIT_CODE
from job.training.observer import Observer
from job.training.topology import Requests, Topology
from tests.servers.prometheus import http, wait_for
from tests.streaming.sets import pack_numbered


class Scripted:
    """A listener that is asked for what the script says, and keeps what it is told."""

    def __init__(self, *wishes: Requests) -> None:
        self._wishes = iter(wishes)
        self.notes: list[str] = []

    def progress(self, progress: StepReport, num_steps: int) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def wanted(self) -> Requests:
        return next(self._wishes)


@contextmanager
def observing(folder: Path, listener: Scripted, *settings: str) -> Iterator[Observer]:
    spec = load_run(
        "notebook",
        overrides=[f"uri={folder}/one", f"data.uri={folder}", "metrics.port=0", *settings],
    )
    index = pack_numbered(folder, num_images=24)
    with Observer(
        spec,
        Topology(0, 2, restarts=5),
        index,
        listener,
        lambda text: None,
        target_world_size=4,
        num_hangs=3,
    ) as observer:
        yield observer


def scrape(listener: Scripted) -> dict[str, float]:
    """The series of the observer's own server, without ``run`` and ``rank``."""
    return scrape_port(next(port_in(note) for note in listener.notes if "/metrics" in note))


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


def test_a_wish_counts_once_however_long_it_lasts(tmp_path: Path) -> None:
    going, stop = Requests(save=True), Requests(save=True, stop=True)
    listener = Scripted(Requests(), going, going, stop, stop)
    with observing(tmp_path, listener) as observer:
        assert [observer.wanted() for _ in range(5)] == [Requests(), going, going, stop, stop]
        told = scrape(listener)
    assert told['dcgan_preemptions_total reason="node"'] == 1
    assert told['dcgan_preemptions_total reason="stop"'] == 1


def test_what_the_run_is_configured_for_is_there_from_the_start(tmp_path: Path) -> None:
    listener = Scripted()
    with observing(tmp_path, listener, "checkpoints.every_steps=70"):
        told = scrape(listener)
    names = (
        "world_size",
        "target_world_size",
        "checkpoint_every_steps",
        "hangs_total",
        "restarts_total",
    )
    assert [told[f"dcgan_{name}"] for name in names] == [2, 4, 70, 3, 5]


def test_two_runs_on_one_machine_have_ports_and_one_of_your_own_is_strict(tmp_path: Path) -> None:
    first, second = Scripted(), Scripted()
    with (
        observing(tmp_path / "1", first, "metrics.port=null"),
        observing(tmp_path / "2", second, "metrics.port=null"),
    ):
        ports = [port_in(listener.notes[0]) for listener in (first, second)]
        assert ports[1] not in (9400, ports[0])
        assert scrape(second)["dcgan_world_size"] == 2
        refusal = pytest.raises(ConfigError, match=rf"metrics\.port {ports[0]} is taken by ")
        with refusal, observing(tmp_path / "3", Scripted(), f"metrics.port={ports[0]}"):
            pass


@pytest.mark.parametrize(
    ("host", "at"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", None), ("null", None)]
)
def test_metrics_are_served_at_the_host_that_is_set(
    tmp_path: Path, host: str, at: str | None
) -> None:
    listener = Scripted()
    with observing(tmp_path, listener, f"metrics.host={host}"):
        found, port = re.findall(r"http://(\S+):(\d+)/metrics", listener.notes[0])[0]
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
    listener, random = Scripted(), np.random.default_rng(0)
    varied = random.integers(0, 256, (25, 8, 8, 1), np.uint8)
    with observing(tmp_path, listener) as observer:
        observer.first_images(varied)
        observer.sampled(0, varied)
        assert "dcgan_sample_diversity" not in scrape(
            listener
        )  # an untrained generator says nothing
        observer.sampled(100, varied[:1].repeat(25, axis=0))
        told = scrape(listener)
    assert told["dcgan_sample_diversity"] == 0
    assert told["dcgan_data_diversity"] > 0.2


@pytest.mark.parametrize("seconds", [0, 1])
def test_the_last_values_stay_for_a_while(seconds: int, tmp_path: Path) -> None:
    listener = Scripted()
    with observing(tmp_path, listener, f"metrics.linger_seconds={seconds}") as observer:
        observer.enter("done")
        scrape(listener)
        lingering = threading.Thread(target=observer.linger)
        lingering.start()
        lingering.join(0.5)
        assert lingering.is_alive() == (seconds > 0)
        assert scrape(listener)['dcgan_phase phase="done"'] == 1
        lingering.join(10)
        assert not lingering.is_alive()


def test_after_a_stop_the_last_values_stay_within_the_grace(tmp_path: Path) -> None:
    listener = Scripted(Requests(stop=True))
    with observing(
        tmp_path, listener, "metrics.linger_seconds=30", "checkpoints.grace_seconds=6"
    ) as observer:
        scrape(listener)
        observer.wanted()
        started = time.monotonic()
        observer.linger()
        assert 0.5 < time.monotonic() - started < 3


def test_nobody_is_waited_for_who_never_scraped(tmp_path: Path) -> None:
    with observing(tmp_path, Scripted(), "metrics.linger_seconds=30") as observer:
        started = time.monotonic()
        observer.linger()
        assert time.monotonic() - started < 1


def test_a_hang_is_counted_while_its_process_still_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.training.test_observer", str(tmp_path)]
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
    listener = Scripted()
    with observing(
        folder, listener, "watchdog.train_seconds=1", "data.fetch_patience_seconds=0.5"
    ) as observer:
        sys.stdout.write(listener.notes[0] + "\n")
        sys.stdout.flush()
        observer.enter("train")
        time.sleep(60)


if __name__ == "__main__":
    hang(Path(sys.argv[1]))
