"""Callbacks between a worker and its launcher: progress out, stop requests in.

The loop reports each event once; ``Listeners`` passes it to metrics, history, watchdog, log and
driver.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from job.checkpoints.uploader import SaveEvent
from job.telemetry.step_report import Phase, StepReport


class Requests(NamedTuple):
    """Requests: ``stop`` after a last checkpoint, ``save`` often because a node will go."""

    stop: bool = False
    save: bool = False


class Listener:
    """Events of one worker's training; override those of interest."""

    def on_phase(self, phase: Phase) -> None:
        """Something finished and ``phase`` begins."""

    def on_report(self, report: StepReport, num_steps: int) -> None:
        """Report on a train call of ``num_steps``; of 0 steps at the start and after a commit."""

    def on_first_images(self, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Receive the real images ``[B, H, W, C]``, uint8, of this worker's first call.

        Those of a conditional model have ``labels`` ``[B]``, int32.
        """

    def on_grid(self, step: int, images: np.ndarray) -> None:
        """Receive the generated images ``[B, H, W, C]``, uint8, of a sample grid (chief only)."""

    def on_scores(self, step: int, scores: dict[str, float]) -> None:
        """Receive the scores of the generated images after ``step`` steps (chief only)."""

    def on_save_event(self, event: SaveEvent) -> None:
        """A save was committed or skipped, or one of its requests failed (chief only)."""

    def on_snapshot(self, seconds: float) -> None:
        """Starting a save blocked the training thread for ``seconds`` (chief only)."""

    def on_not_finite(self) -> None:
        """A loss or a norm of the last train call was NaN or infinite."""

    def on_resume(self, step: int) -> None:
        """Training resumed from this run's own checkpoint at ``step``."""

    def on_rollback(self) -> None:
        """The run rolls back to its last checkpoint, with other noise."""

    def on_requests(self, requests: Requests) -> None:
        """Receive the driver's requests, after every train call."""

    def on_note(self, text: str) -> None:
        """Receive one line for the person who watches."""

    def on_finish(self) -> None:
        """Everything is saved and the worker is about to return."""


class Driver(Listener):
    """The driver of a run, as a worker sees it."""

    def requests(self) -> Requests:
        """Return the current requests. Every worker asks after every train call."""
        return Requests()


class Listeners(Listener):
    """Passes every event on to each of ``listeners``, in order."""

    def __init__(self, *listeners: Listener) -> None:
        def broadcast(event: str, *values: object) -> None:
            for listener in listeners:
                getattr(listener, event)(*values)

        for event in (name for name in vars(Listener) if name.startswith("on_")):
            setattr(self, event, partial(broadcast, event))
