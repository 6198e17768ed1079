"""The board: one small actor where workers post and the driver reads. Messages only; no worker ever waits for it.

Without it a driver would see nothing until the end: Ray Train's own reports stay with its controller.
"""

import logging
import threading
from typing import Any, NamedTuple

import ray
import ray.train
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from job.config.errors import DcganError
from job.telemetry.step_report import StepReport
from job.training.topology import Requests

LOOK_SECONDS = 0.5


class Posted(NamedTuple):
    """What stands on the board: the chief's latest progress, lines not read before, and the error that ends the run."""

    progress: StepReport | None
    notes: list[str]
    error: DcganError | None


class Mailbox:
    """An actor's class: see ``start_board``."""

    def __init__(self) -> None:
        self._progress: StepReport | None = None
        self._notes: list[str] = []
        self._error: DcganError | None = None
        self._starts: dict[int, int] = {}
        self._rooms: set[PlacementGroup] = set()
        self._stop = False

    def begin(self, rank: int, room: PlacementGroup | None = None) -> int:
        """A worker starts in its ``room``: how often its rank has started before."""
        self._starts[rank] = self._starts.get(rank, 0) + 1
        if room is not None:
            self._rooms.add(room)
        return self._starts[rank] - 1

    def leave_rooms(self) -> list[PlacementGroup]:
        """What workers have started in so far; from now on it is not theirs any more."""
        left, self._rooms = list(self._rooms), set()
        return left

    def num_restarts(self) -> int:
        """How often the workers have started again, whoever started them."""
        return max(self._starts.values(), default=1) - 1

    def post_progress(self, progress: StepReport) -> None:
        self._progress = progress

    def post_note(self, text: str) -> None:
        self._notes.append(text)

    def post_error(self, error: DcganError) -> None:
        """An error that starting again does not cure; the first one stands."""
        self._error = self._error or error

    def ask_to_stop(self) -> None:
        """The driver wants the run to end after a last checkpoint."""
        self._stop = True

    def is_stop_wanted(self) -> bool:
        return self._stop

    def read(self) -> Posted:
        notes, self._notes = self._notes, []
        return Posted(self._progress, notes, self._error)


def start_board() -> Any:
    """A board on the driver's node, that lives as long as the driver."""
    return ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=on_this_node())(
        Mailbox
    ).remote()


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Where the driver is: what must not move to a node that may go away."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


class BoardListener:
    """A worker's ``Listener`` that posts on the board, and looks there whether to stop. Only the chief does: every worker has the same progress.

    A context manager: the chief looks in a thread of its own, so that training never waits for it.
    """

    def __init__(self, board: Any, rank: int):
        self._board, self._rank = board, rank
        self._stop, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="board-listener", daemon=True)

    def __enter__(self) -> "BoardListener":
        if self._rank == 0:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def progress(self, progress: StepReport, num_steps: int) -> None:
        """Post and go on."""
        if self._rank == 0:
            self._board.post_progress.remote(progress)

    def note(self, text: str) -> None:
        """Post and go on."""
        self._board.post_note.remote(text)

    def wanted(self) -> Requests:
        """Whether the driver asked to stop, and whether Ray says that a node of the run is about to go. A barrier of Ray's over all workers."""
        is_going = ray.train.get_preemption_info() is not None
        return Requests(stop=self._stop.is_set(), save=is_going)

    def _look(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                if ray.get(self._board.is_stop_wanted.remote()):
                    self._stop.set()
                    return
            except ray.exceptions.RayError:  # the driver is gone, and Ray ends this process soon
                return


class BoardHandler(logging.Handler):
    """Warnings of a worker become lines on the driver's terminal."""

    def __init__(self, board: Any, rank: int):
        super().__init__(logging.WARNING)
        self._board, self._rank = board, rank

    def emit(self, record: logging.LogRecord) -> None:
        self._board.post_note.remote(
            f"worker {self._rank}: {record.levelname.lower()}: {record.getMessage()}"
        )
