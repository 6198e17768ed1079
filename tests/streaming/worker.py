"""One worker of a run without Ray, with TF_CONFIG if there are several.

    python -m tests.streaming.worker RANK WORLD_SIZE KEY=VALUE...

Prints a line for each report, and, after the last step, what Prometheus would have scraped then:
``counter NAME{LABELS} VALUE``. With IMAGES_SEEN set to a file, appends a line for each chunk that
is read from a numbered data set: first step and numbers, step by step.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

import numpy as np

from job.config.load import load_run
from job.run.stores import open_stores
from job.streaming.reader import Reader
from job.telemetry.step_report import StepReport
from job.training import open_reader, worker
from job.training.listeners import Driver
from job.training.topology import Topology
from tests.streaming.sets import numbers_of


class Scribe(Driver):
    """A driver that writes to standard output."""

    def __init__(self) -> None:
        self._metrics_url = ""

    def on_report(self, report: StepReport, num_steps: int) -> None:
        """Every report; with the last one of training, the metrics."""
        say(f"step {report.step}")
        if report.step == report.total_steps and num_steps:
            for line in self.scrape():
                say(f"counter {line}")

    def scrape(self) -> list[str]:
        """``NAME{LABELS} VALUE`` of every series that this worker serves now."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self._metrics_url, timeout=10) as answer:
            return [
                line for line in answer.read().decode().splitlines() if not line.startswith("#")
            ]

    def on_note(self, text: str) -> None:
        """Among them the address of the metrics."""
        say(text)
        if text.startswith("metrics of worker"):
            self._metrics_url = text.partition(": ")[2]


class Recording(Reader):
    """A reader that writes down which images it gave."""

    def chunk(self, first_step: int, num_steps: int) -> np.ndarray:
        """The same."""
        chunk = super().chunk(first_step, num_steps)
        numbers = np.moveaxis(numbers_of(chunk), 1, 0).reshape(num_steps, -1)  # [S, K, P] to [K, B]
        with Path(os.environ["IMAGES_SEEN"]).open("a") as file:
            file.write(json.dumps([first_step, numbers.tolist()]) + "\n")
        return chunk


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    if "IMAGES_SEEN" in os.environ:
        open_reader.Reader = Recording
    rank, world_size = int(sys.argv[1]), int(sys.argv[2])
    spec = load_run("notebook", overrides=sys.argv[3:])
    worker.run(
        spec,
        open_stores(spec),
        Topology(rank, world_size, local_rank=rank, local_world_size=world_size),
        Scribe(),
    )


if __name__ == "__main__":
    main()
