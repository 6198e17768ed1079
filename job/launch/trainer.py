"""Train under Ray Train: one ``TensorflowTrainer``, its workers' entry, and the driver's loop that watches them.

``fit`` blocks, takes over Ctrl-C and ends the process with status 0, so it runs as a Ray task of its own; this process only watches, in its main
thread. At Ctrl-C and SIGTERM the workers save once more, and the same command started again goes on from there. (In a second
thread of this process ``fit`` would still wait in Ray's C++ code when Ray is shut down, which ends the process before it can say why.)
"""

import datetime
import logging
import math
import os
import tempfile
import time
import uuid
from functools import partial
from typing import Any, Protocol

import ray
from ray.util.placement_group import PlacementGroup

from job import KERAS_ENV
from job.config.errors import DcganError
from job.config.spec import RunSpec, WorkerSpec
from job.launch.cluster import cluster
from job.launch.machine import with_metrics_host
from job.launch.mailbox import BoardHandler, BoardListener, on_this_node, start_board
from job.run.lease import Lease, check_holder
from job.storage.uri import open_store
from job.telemetry.step_report import StepReport

log = logging.getLogger("dcgan.launch")

POLL_SECONDS = 0.25
REMEDY = "Start the same command again to go on from the last checkpoint, or with -v to see the workers' output"
WORKER_ENV = {**KERAS_ENV, "TF_CPP_MIN_LOG_LEVEL": "2"}
FIT_ENV = {
    **WORKER_ENV,
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}  # workers stay where they are, instead of in a folder of Ray Train's
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
# Ray Train learns up to 20 s late that a host is gone, and an elastic group that it starts too large has to give up soon and be smaller.
ELASTIC_START_SECONDS = 20.0
ELASTIC_STARTS = 100  # how often that may happen: once or twice for each lost host


class View(Protocol):
    """What shows a run to a person; ``job.telemetry.progress.ProgressBar`` is one."""

    def update(self, progress: StepReport) -> None: ...

    def note(self, text: str) -> None: ...


class TrainingCrashed(DcganError):
    """The worker group died more often than ``workers.max_restarts`` allows."""


def train(
    spec: RunSpec, view: View, lease: Lease | None = None, *, stamp: str = "", verbose: bool = False
) -> None:
    """Train ``spec`` on its workers to the last step; raises the ``DcganError`` that ended the run before. ``stamp`` names this start of the program.

    ``KeyboardInterrupt`` (Ctrl-C, SIGTERM) lets the workers save a last checkpoint first, for ``checkpoints.grace_seconds``; a second one does not.
    """
    with (
        tempfile.TemporaryDirectory(
            prefix="dcgan-train-ray-", ignore_cleanup_errors=True
        ) as ray_storage,
        cluster(
            spec.workers, lambda what: view.note(f"waiting for {what}"), verbose=verbose
        ) as is_alone,
    ):
        board = start_board()
        fit = ray.remote(
            num_cpus=0,
            max_retries=spec.workers.max_restarts,
            runtime_env={
                "env_vars": FIT_ENV | {START_TIMEOUT: f"{_start_seconds(spec.workers):g}"}
            },
            scheduling_strategy=on_this_node(),
        )(_fit)
        fitting = fit.remote(
            with_metrics_host(spec),
            board,
            ray_storage,
            {"token": lease.token if lease else None, "stamp": stamp},
            is_alone,
        )
        view.note("waiting for the workers to start")
        watch = _Watch(board, view, lease, fitting)
        try:
            watch.until_done()
        except KeyboardInterrupt:
            if watch.has_trained:
                view.note(
                    f"stopping after a last checkpoint, for at most {spec.checkpoints.grace_seconds:g} s; once more to stop at once"
                )
                ray.get(board.ask_to_stop.remote())
                watch.until_done(spec.checkpoints.grace_seconds)
            raise
        _check(fitting, spec)


class _Watch:
    """The driver's look at a run: what stands on the board, the lease, the end."""

    def __init__(self, board: Any, view: View, lease: Lease | None, fitting: Any):
        self._board, self._view, self._lease, self._fitting = board, view, lease, fitting
        self.has_trained = False

    def until_done(self, seconds: float = math.inf) -> None:
        """Show what is posted until the run has ended or ``seconds`` have passed; raises what a worker posted, or ``LeaseLost``."""
        deadline = time.monotonic() + seconds
        while (
            not ray.wait([self._fitting], timeout=POLL_SECONDS)[0] and time.monotonic() < deadline
        ):
            self._show()
            if self._lease:
                self._lease.check()
        self._show()

    def _show(self) -> None:
        posted = ray.get(self._board.read.remote())
        for note in posted.notes:
            self._view.note(note)
        if posted.progress is not None:
            self.has_trained = self.has_trained or posted.progress.phase not in ("start", "compile")
            self._view.update(posted.progress)
        if posted.error is not None:
            raise posted.error


def _fit(spec: RunSpec, board: Any, ray_storage: str, job: dict[str, Any], is_alone: bool) -> None:
    """The task: make the trainer and wait for it; again where its controller dies, which Ray itself does not start again (2.60).

    ``job`` is what each worker is given beside ``spec`` and ``board``: the token of the lease, the name of this start.
    """
    num_controllers = 0
    while True:
        # Of one count, whoever starts the workers: Ray Train's controllers each count anew.
        left = spec.workers.max_restarts - max(
            ray.get(board.num_restarts.remote()), num_controllers
        )
        try:
            _trainer(spec, board, ray_storage, job, max(left, 0)).fit()
            return
        except ray.exceptions.ActorDiedError:
            if left <= 0:
                raise
            num_controllers += 1
            _free_rooms(board, is_alone)
            ray.get(
                board.post_note.remote(
                    "Ray Train's controller ended: starting it and the workers again"
                )
            )


def _free_rooms(board: Any, is_alone: bool) -> None:
    """Give back the CPUs and GPUs that a dead controller reserved, or the next one waits for them for ever.

    Ray's own cleaner (2.60) asks the dashboard, which a cluster of our own lacks, and knows no workers that were about to start. In such a
    cluster every reservation is this run's; elsewhere it is those that workers told of.
    """
    rooms = ray.get(board.leave_rooms.remote())
    if is_alone:
        table = ray.util.placement_group_table()
        rooms = [
            PlacementGroup(ray.PlacementGroupID.from_hex(key))
            for key, row in table.items()
            if row["state"] != "REMOVED"
        ]
    for room in rooms:
        ray.util.remove_placement_group(room)


def _trainer(
    spec: RunSpec, board: Any, ray_storage: str, job: dict[str, Any], max_restarts: int
) -> Any:
    """A ``TensorflowTrainer``; ``ray_storage`` is a folder for what Ray Train keeps for itself."""
    import ray.train
    from ray.train.tensorflow import TensorflowTrainer  # loads TensorFlow

    workers = spec.workers
    resources = {"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})}
    return TensorflowTrainer(
        _worker,
        train_loop_config={"spec": spec, "board": board, **job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=(workers.min_workers, workers.max_workers)
            if _is_elastic(workers)
            else workers.count,
            use_gpu=workers.gpus > 0,
            resources_per_worker=resources,
            elastic_resize_monitor_interval_s=workers.resize_seconds,
        ),
        run_config=ray.train.RunConfig(
            # A name used twice would resume Ray's own state; ours is in the run folder.
            name=f"dcgan-{uuid.uuid4().hex[:12]}",
            storage_path=ray_storage,
            failure_config=ray.train.FailureConfig(
                max_failures=max_restarts,
                controller_failure_limit=ELASTIC_STARTS if _is_elastic(workers) else 3,
            ),
            worker_runtime_env={"env_vars": WORKER_ENV},
        ),
    )


def _is_elastic(workers: WorkerSpec) -> bool:
    return workers.min_workers < workers.max_workers


def _start_seconds(workers: WorkerSpec) -> float:
    """How long one start of the workers waits for room: with a fixed number of them until a lost host is back."""
    return ELASTIC_START_SECONDS if _is_elastic(workers) else workers.start_timeout_seconds


def _worker(config: dict[str, Any]) -> None:
    """One worker process, in a thread of it. TensorFlow is loaded here and nowhere else under Ray."""
    import ray.train

    begun = time.time()
    from job.run.layout import STAMP, run_name, start_name
    from job.run.process_records import process_records
    from job.telemetry import logs
    from job.training import worker
    from job.training.topology import Topology

    spec, board, token = config["spec"], config["board"], config["token"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    logs.configure(rank=rank, run=run_name(spec.uri), as_json=True)
    handler = BoardHandler(board, rank)
    logging.getLogger("dcgan").addHandler(handler)
    restarts = ray.get(board.begin.remote(rank, ray.util.get_current_placement_group()))
    topology = Topology(
        rank,
        context.get_world_size(),
        context.get_local_rank(),
        restarts,
        context.get_local_world_size(),
    )
    store = open_store(spec.uri, spec.storage)
    fence = partial(check_holder, store, token) if token else lambda: None
    start = start_name(
        config["stamp"] or f"{datetime.datetime.now(datetime.UTC):{STAMP}}", restarts
    )
    try:
        with (
            process_records(spec, start, f"rank{rank:03d}", rank) as records,
            BoardListener(board, rank) as listener,
        ):
            log.info("worker started", extra={"fields": {"pid": os.getpid(), "begun": begun}})
            if topology.is_chief and restarts:
                listener.note(
                    f"start {restarts + 1} of the workers, {topology.world_size} of them, from the last checkpoint"
                )
            worker.run(spec, topology, listener, fence, records)
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
            raise TrainingCrashed(
                f"Ray ended the run: {type(ended).__name__}: {_short(ended)}. {REMEDY}"
            ) from error
        rank, failure = next(iter(failures.items()))
        raise TrainingCrashed(
            f"training crashed more than workers.max_restarts ({spec.workers.max_restarts}) times; at last worker {rank}:"
            f" {type(failure).__name__}: {_short(failure)}. {REMEDY}"
        ) from error


def _short(error: BaseException) -> str:
    """The first and the last line of an error's text: Ray's begin with what happened and end, after tracebacks, with why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        " ... ".join(dict.fromkeys((lines[0], lines[-1]))).rstrip(".")
        if lines
        else "no reason given"
    )
