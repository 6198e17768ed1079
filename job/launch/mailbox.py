"""The mailbox: an actor through which driver and workers exchange messages; nobody waits for it.

Ray Train's own reports stay with its controller, so the driver would see nothing until the end.
"""

import logging
import threading
from typing import Any, NamedTuple

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from job.config.errors import DcganError
from job.telemetry.secrets import mask_secrets
from job.telemetry.step_report import StepReport
from job.training.listeners import Driver, Requests

POLL_SECONDS = 0.5


class Messages(NamedTuple):
    """The chief's latest report, the notes since the last read, and the error that ends the run."""

    report: StepReport | None
    notes: list[str]
    error: DcganError | None


class Mailbox:
    """The actor's class; ``start_mailbox`` starts it."""

    def __init__(self) -> None:
        self._report: StepReport | None = None
        self._notes: list[str] = []
        self._error: DcganError | None = None
        self._starts: dict[int, int] = {}
        self._placement_groups: set[PlacementGroup] = set()
        self._stop = False

    def register_worker(self, rank: int, placement_group: PlacementGroup | None = None) -> int:
        """Return how often the worker of this rank was started before."""
        self._starts[rank] = self._starts.get(rank, 0) + 1
        if placement_group is not None:
            self._placement_groups.add(placement_group)
        return self._starts[rank] - 1

    def take_placement_groups(self) -> list[PlacementGroup]:
        """Return the placement groups of all workers so far, and forget them."""
        taken, self._placement_groups = list(self._placement_groups), set()
        return taken

    def num_restarts(self) -> int:
        """Return how often the workers were restarted, by whichever controller."""
        return max(self._starts.values(), default=1) - 1

    def post_report(self, report: StepReport) -> None:
        self._report = report

    def post_note(self, text: str) -> None:
        self._notes.append(text)

    def post_error(self, error: DcganError) -> None:
        """Post an error that a restart does not cure; the first one counts."""
        self._error = self._error or error

    def request_stop(self) -> None:
        """Ask the workers to stop after a last checkpoint."""
        self._stop = True

    def is_stop_requested(self) -> bool:
        return self._stop

    def read(self) -> Messages:
        notes, self._notes = self._notes, []
        return Messages(self._report, notes, self._error)


def start_mailbox() -> Any:
    """Start a mailbox on the driver's node; it lives as long as the driver."""
    actor = ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=on_this_node())(Mailbox)
    return actor.remote()


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Return the strategy that schedules on the driver's node, which stays while others go."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


class MailboxDriver(Driver):
    """The driver as a worker reaches it, through the mailbox. A context manager.

    Only the chief posts reports, because all workers have the same, and polls for a stop request,
    in a thread so that training does not wait for it.
    """

    def __init__(self, mailbox: Any, rank: int):
        self._mailbox, self._rank = mailbox, rank
        self._stop, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._poll, name="mailbox", daemon=True)

    def __enter__(self) -> "MailboxDriver":
        if self._rank == 0:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def on_report(self, report: StepReport, num_steps: int) -> None:
        if self._rank == 0:
            self._mailbox.post_report.remote(report)

    def on_note(self, text: str) -> None:
        self._mailbox.post_note.remote(text)

    def requests(self) -> Requests:
        """Ask Ray for preemptions, too: a barrier of Ray's over all workers."""
        import ray.train  # takes a second, which the mailbox itself does not need

        is_node_going = ray.train.get_preemption_info() is not None
        return Requests(stop=self._stop.is_set(), save=is_node_going)

    def _poll(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            try:
                if ray.get(self._mailbox.is_stop_requested.remote()):
                    self._stop.set()
                    return
            except ray.exceptions.RayError:  # the driver is gone, and Ray ends this process soon
                return


class MailboxHandler(logging.Handler):
    """Posts a worker's warnings as notes, which the driver prints."""

    def __init__(self, mailbox: Any, rank: int):
        super().__init__(logging.WARNING)
        self._mailbox, self._rank = mailbox, rank

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        text = mask_secrets(record.getMessage())
        self._mailbox.post_note.remote(f"worker {self._rank}: {level}: {text}")
