"""Train under Ray Train: one ``TensorflowTrainer``, its workers' entry, and the driver's loop that watches them.

``fit`` blocks, takes over Ctrl-C and ends the process with status 0, so it runs as a Ray task of its own; this process only watches, in its main
thread. Ctrl-C and SIGTERM then end the run at once, and the same command started again goes on from the last committed checkpoint. (In a second
thread of this process ``fit`` would still wait in Ray's C++ code when Ray is shut down, which ends the process before it can say why.)
"""

import logging
import tempfile
import uuid
from typing import Any, Protocol

import ray

from job.config.errors import DcganError
from job.config.spec import RunSpec
from job.launch.board import BoardHandler, BoardListener, on_this_node, start_board
from job.launch.cluster import cluster
from job.telemetry.report import Progress

POLL_SECONDS = 0.25
REMEDY = "Start the same command again to go on from the last checkpoint, or with -v to see the workers' output"
WORKER_ENV = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
FIT_ENV = {**WORKER_ENV, "RAY_CHDIR_TO_TRIAL_DIR": "0"}  # workers stay where they are, instead of in a folder of Ray Train's


class View(Protocol):
    """What shows a run to a person; ``job.telemetry.progress.ProgressBar`` is one."""

    def update(self, progress: Progress) -> None: ...

    def note(self, text: str) -> None: ...


class TrainingCrashed(DcganError):
    """The worker group died more often than ``workers.max_restarts`` allows."""


def train(spec: RunSpec, view: View, *, verbose: bool = False) -> None:
    """Train ``spec`` on its workers to the last step; raises the ``DcganError`` that ended the run before."""
    with (
        tempfile.TemporaryDirectory(prefix="dcgan-train-ray-", ignore_cleanup_errors=True) as ray_storage,
        cluster(spec.workers, verbose=verbose),
    ):
        board = start_board()
        fit = ray.remote(num_cpus=0, max_retries=0, runtime_env={"env_vars": FIT_ENV}, scheduling_strategy=on_this_node())(_fit)
        fitting = fit.remote(spec, board, ray_storage)
        while not ray.wait([fitting], timeout=POLL_SECONDS)[0]:
            _show(board, view)
        _show(board, view)
        _check(fitting, spec)


def _show(board: Any, view: View) -> None:
    posted = ray.get(board.read.remote())
    for note in posted.notes:
        view.note(note)
    if posted.progress is not None:
        view.update(posted.progress)
    if posted.error is not None:
        raise posted.error


def _fit(spec: RunSpec, board: Any, ray_storage: str) -> None:
    """The task: make the trainer and wait for it. ``ray_storage`` is a folder for what Ray Train keeps for itself."""
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer  # loads TensorFlow

    resources = {"CPU": spec.workers.cpus, **({"GPU": spec.workers.gpus} if spec.workers.gpus else {})}
    trainer = TensorflowTrainer(
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
    trainer.fit()


def _worker(config: dict[str, Any]) -> None:
    """One worker process, in a thread of it. TensorFlow is loaded here and nowhere else under Ray."""
    import ray.train

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
    restarts = ray.get(board.begin.remote(rank))
    topology = Topology(rank, context.get_world_size(), context.get_local_rank(), restarts, context.get_local_world_size())
    listener = BoardListener(board, rank)
    if topology.is_chief and topology.restarts:
        listener.note(f"a worker ended: start {topology.restarts} of at most {spec.workers.max_restarts} again, from the last checkpoint")
    try:
        worker.run(spec, topology, listener)
    except DcganError as error:
        ray.get(board.post_error.remote(error))
        raise
    finally:
        logging.getLogger("dcgan").removeHandler(handler)


def _check(fitting: Any, spec: RunSpec) -> None:
    """Raise what ``fit`` ended with, if anything, in words that name the worker and the cause."""
    try:
        ray.get(fitting)
    except ray.exceptions.RayError as error:
        ended = getattr(error, "cause", None) or error
        failures = getattr(ended, "worker_failures", None)
        if not failures:
            raise TrainingCrashed(f"Ray ended the run: {type(ended).__name__}: {_short(ended)}. {REMEDY}") from error
        rank, failure = next(iter(failures.items()))
        raise TrainingCrashed(
            f"training crashed more than workers.max_restarts ({spec.workers.max_restarts}) times; at last worker {rank}:"
            f" {type(failure).__name__}: {_short(failure)}. {REMEDY}"
        ) from error


def _short(error: BaseException) -> str:
    """The first and the last line of an error's text: Ray's begin with what happened and end, after tracebacks, with why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys((lines[0], lines[-1]))).rstrip(".") if lines else "no reason given"
