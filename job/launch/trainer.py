"""Train under Ray Train: one ``TensorflowTrainer``, its workers' entry, and the driver's loop that watches them.

The driver's main thread watches (progress, signals) while another waits in ``fit``; so Ctrl-C and SIGTERM end the run at once, and the same
command started again goes on from the last committed checkpoint.
"""

import logging
import os
import tempfile
import threading
import uuid
from typing import Any, Protocol

import ray
import ray.train
from ray.train.tensorflow import TensorflowTrainer

from job.config.errors import DcganError
from job.config.spec import RunSpec
from job.launch.board import BoardHandler, BoardListener, start_board
from job.launch.cluster import cluster
from job.telemetry.report import Progress

POLL_SECONDS = 0.25
WORKER_ENV = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}


class View(Protocol):
    """What shows a run to a person; ``job.telemetry.progress.ProgressBar`` is one."""

    def update(self, progress: Progress) -> None: ...

    def note(self, text: str) -> None: ...


class TrainingCrashed(DcganError):
    """The worker group died more often than ``workers.max_restarts`` allows."""


def train(spec: RunSpec, view: View, *, verbose: bool = False) -> None:
    """Train ``spec`` on its workers to the last step; raises the ``DcganError`` that ended the run before."""
    # Ray Train would move workers into a folder of its own; it also prints a report of every attempt unless told not to.
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    logging.getLogger("ray.train").setLevel(logging.INFO if verbose else logging.CRITICAL)
    with cluster(spec.workers, verbose=verbose), tempfile.TemporaryDirectory(prefix="dcgan-train-ray-") as ray_storage:
        board = start_board()
        fitting = _Fitting(_trainer(spec, board, ray_storage))
        fitting.start()
        while fitting.is_alive():
            fitting.join(POLL_SECONDS)
            _show(board, view)
        _show(board, view)
        fitting.check(spec)


def _show(board: Any, view: View) -> None:
    posted = ray.get(board.read.remote())
    for note in posted.notes:
        view.note(note)
    if posted.progress is not None:
        view.update(posted.progress)
    if posted.error is not None:
        raise posted.error


def _trainer(spec: RunSpec, board: Any, ray_storage: str) -> TensorflowTrainer:
    resources = {"CPU": spec.workers.cpus, **({"GPU": spec.workers.gpus} if spec.workers.gpus else {})}
    return TensorflowTrainer(
        _worker,
        train_loop_config={"spec": spec, "board": board},
        scaling_config=ray.train.ScalingConfig(
            num_workers=spec.workers.count, use_gpu=spec.workers.gpus > 0, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            # A name used twice would resume Ray's own state; ours is in the run folder.
            name=f"dcgan-{uuid.uuid4().hex[:12]}",
            storage_path=ray_storage,
            failure_config=ray.train.FailureConfig(max_failures=spec.workers.max_restarts, controller_failure_limit=3),
            worker_runtime_env={"env_vars": WORKER_ENV},
        ),
    )


def _worker(config: dict[str, Any]) -> None:
    """One worker process, in a thread of it. TensorFlow is loaded here and nowhere else under Ray."""
    from job.telemetry import logs
    from job.training import worker
    from job.training.observer import run_name
    from job.training.topology import Topology

    spec, board = config["spec"], config["board"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    logs.configure(rank=rank, run=run_name(spec), as_json=True)
    handler = BoardHandler(board, rank)
    logging.getLogger("dcgan").addHandler(handler)
    topology = Topology(rank, context.get_world_size(), context.get_local_rank(), ray.get(board.begin.remote(rank)))
    try:
        worker.run(spec, topology, BoardListener(board, rank))
    except DcganError as error:
        ray.get(board.post_error.remote(error))
        raise
    finally:
        logging.getLogger("dcgan").removeHandler(handler)


class _Fitting(threading.Thread):
    """``fit`` in a thread of its own: in the main thread Ray would take over Ctrl-C and exit with status 0."""

    def __init__(self, trainer: TensorflowTrainer):
        super().__init__(name="ray-train-fit", daemon=True)
        self._trainer = trainer
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:  # the edge of a thread; raised again by ``check``
            self._error = error

    def check(self, spec: RunSpec) -> None:
        """Raise what ``fit`` ended with, if anything."""
        if self._error is None:
            return
        if not isinstance(self._error, ray.train.TrainingFailedError):
            raise self._error
        failures = getattr(self._error, "worker_failures", {}) or {None: self._error}
        rank, failure = next(iter(failures.items()))
        reason = str(failure).strip().splitlines()[-1] if str(failure).strip() else type(failure).__name__
        who = "the controller" if rank is None else f"worker {rank}"
        raise TrainingCrashed(
            f"training crashed more than workers.max_restarts ({spec.workers.max_restarts}) times; at last {who}: {type(failure).__name__}: {reason}."
            " Start the same command again to go on from the last checkpoint, or with -v to see the workers' output"
        ) from self._error
