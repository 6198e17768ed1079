"""Train under Ray Train: one ``TensorflowTrainer``, its workers' entry, and the driver's watch.

``fit`` blocks, takes over Ctrl-C and ends the process with status 0, so it runs as a Ray task and
this process only watches. (In a second thread of this process, ``fit`` would still wait in Ray's
C++ code when Ray is shut down, which ends the process before it can report the reason.)
"""

import datetime
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import ray
from ray.util.placement_group import PlacementGroup

from job.config.errors import DcganError
from job.config.host import is_local
from job.config.spec import RunSpec, WorkerSpec
from job.launch.cluster import cluster
from job.launch.failure import raise_failure
from job.launch.fork_server import Pythons
from job.launch.machine import WORKER_ENV, with_metrics_host
from job.launch.mailbox import MailboxDriver, MailboxHandler, on_this_node, start_mailbox
from job.run.lease import Lease, check_holder
from job.telemetry.step_report import StepReport

log = logging.getLogger("dcgan.launch")

POLL_SECONDS = 0.25
# Workers stay in their working directory instead of one of Ray Train's.
FIT_ENV = {**WORKER_ENV, "RAY_CHDIR_TO_TRIAL_DIR": "0"}
START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
# Ray Train learns up to 20 s late that a host is gone. An elastic group that it starts too large
# has to give up soon and be smaller.
ELASTIC_START_SECONDS = 20.0


class View(Protocol):
    """Shows a run to a person; ``job.telemetry.progress.ProgressBar`` is one."""

    def update(self, report: StepReport) -> None: ...

    def note(self, text: str) -> None: ...


def train(
    spec: RunSpec,
    view: View,
    lease: Lease | None = None,
    *,
    pythons: Pythons,
    stamp: str = "",
    verbose: bool = False,
) -> None:
    """Train ``spec`` on its workers to the last step; raise the ``DcganError`` that ended the run.

    ``stamp`` names this attempt of the program. After ``KeyboardInterrupt`` (Ctrl-C, SIGTERM) the
    workers save a last checkpoint, within ``checkpoints.grace_seconds``; a second one ends it.
    """
    ray_folder = tempfile.TemporaryDirectory(prefix="dcgan-train-ray-", ignore_cleanup_errors=True)
    ray_cluster = cluster(
        spec.workers, lambda what: view.note(f"waiting for {what}"), verbose=verbose
    )
    with ray_folder as ray_storage, ray_cluster as is_private:
        mailbox = start_mailbox()
        fit = fit_task(_fit, spec.workers, pythons)
        worker_config = {
            "spec": with_metrics_host(spec),
            "mailbox": mailbox,
            "token": lease.token if lease else None,
            "stamp": stamp,
        }
        worker_env = pythons.runtime_env(WORKER_ENV, "tensorflow")
        fitting = fit.remote(spec.workers, worker_config, worker_env, ray_storage, is_private)
        view.note("waiting for the workers to start")
        watch = _Watch(mailbox, view, lease, fitting)
        try:
            watch.until_done()
        except KeyboardInterrupt:
            if watch.has_trained:
                view.note(
                    "stopping after a last checkpoint, for at most"
                    f" {spec.checkpoints.grace_seconds:g} s; once more to stop at once"
                )
                ray.get(mailbox.request_stop.remote())
                watch.until_done(spec.checkpoints.grace_seconds)
            raise
        raise_failure(fitting, spec.workers)


def fit_task(function: Callable[..., object], workers: WorkerSpec, pythons: Pythons) -> Any:
    """Return ``function``, which calls ``fit``, as a Ray task on the driver's node."""
    start_seconds, env = workers.start_timeout_seconds, FIT_ENV
    if is_local():  # nobody drains the node of a private cluster
        env = env | {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
    if workers.min_workers < workers.max_workers:
        start_seconds = ELASTIC_START_SECONDS
    env = env | {START_TIMEOUT: f"{start_seconds:g}"}
    return ray.remote(
        num_cpus=0,
        max_retries=workers.max_restarts,
        runtime_env=pythons.runtime_env(env, "ray"),
        scheduling_strategy=on_this_node(),
    )(function)


class _Watch:
    """Watch a run from the driver: relay progress, check the lease, wait for the end."""

    def __init__(self, mailbox: Any, view: View, lease: Lease | None, fitting: Any):
        self._mailbox, self._view, self._lease, self._fitting = mailbox, view, lease, fitting
        self.has_trained = False

    def until_done(self, seconds: float = math.inf) -> None:
        """Return when the run has ended, or after ``seconds``.

        Raises the error that a worker posted, or ``LeaseLost``.
        """
        deadline = time.monotonic() + seconds
        while (
            not ray.wait([self._fitting], timeout=POLL_SECONDS)[0] and time.monotonic() < deadline
        ):
            self._relay()
            if self._lease:
                self._lease.check()
        self._relay()

    def _relay(self) -> None:
        messages = ray.get(self._mailbox.read.remote())
        for note in messages.notes:
            self._view.note(note)
        if messages.report is not None:
            self.has_trained |= messages.report.phase not in ("start", "compile")
            self._view.update(messages.report)
        if messages.error is not None:
            raise messages.error


def _fit(
    workers: WorkerSpec,
    worker_config: dict[str, Any],
    worker_env: dict[str, Any],
    ray_storage: str,
    is_private: bool,
) -> None:
    """Run the trainer; run another when its controller dies, which Ray (2.60) does not restart.

    ``worker_config`` is passed to each worker; ``worker_env`` is the ``runtime_env`` of them.
    """
    from job.launch.tensorflow_trainer import new_trainer  # Ray Train takes a second

    mailbox, num_controllers = worker_config["mailbox"], 0
    while True:
        # One restart budget for the whole run; each Ray Train controller counts from zero.
        num_restarts = max(ray.get(mailbox.num_restarts.remote()), num_controllers)
        restarts_left = workers.max_restarts - num_restarts
        trainer = new_trainer(
            _worker,
            workers,
            worker_config,
            worker_env,
            ray_storage,
            max(restarts_left, 0),
            is_private=is_private,
        )
        try:
            trainer.fit()
            return
        except ray.exceptions.ActorDiedError:
            if restarts_left <= 0:
                raise
            num_controllers += 1
            _free_placement_groups(mailbox, is_private)
            text = "Ray Train's controller died: restarting it and the workers"
            ray.get(mailbox.post_note.remote(text))


def _free_placement_groups(mailbox: Any, is_private: bool) -> None:
    """Free the CPUs and GPUs that a dead controller reserved, or the next one waits for ever.

    Ray's own cleaner (2.60) asks the dashboard, which a private cluster lacks, and does not know
    workers that were about to start. In a private cluster every placement group is this run's; in
    another one, those that workers have registered.
    """
    groups = ray.get(mailbox.take_placement_groups.remote())
    if is_private:
        groups = [
            PlacementGroup(ray.PlacementGroupID.from_hex(key))
            for key, row in ray.util.placement_group_table().items()
            if row["state"] != "REMOVED"
        ]
    for group in groups:
        ray.util.remove_placement_group(group)


def _worker(config: dict[str, Any]) -> None:
    """Run one worker, in a thread of its process. Only here does Ray's side load TensorFlow."""
    import ray.train

    begun = time.time()
    from job.run.layout import STAMP, run_name, start_name
    from job.run.process_records import process_records
    from job.run.stores import open_stores
    from job.telemetry import logs
    from job.training import worker
    from job.training.topology import Topology

    spec, mailbox, token = config["spec"], config["mailbox"], config["token"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    logs.configure(rank=rank, run=run_name(spec.uri), as_json=True)
    handler = MailboxHandler(mailbox, rank)
    logging.getLogger("dcgan").addHandler(handler)
    placement_group = ray.util.get_current_placement_group()
    restarts = ray.get(mailbox.register_worker.remote(rank, placement_group))
    topology = Topology(
        rank,
        context.get_world_size(),
        context.get_local_rank(),
        restarts,
        context.get_local_world_size(),
    )
    stores = open_stores(spec)
    check_ownership = partial(check_holder, stores.folder, token) if token else lambda: None
    stamp = config["stamp"] or f"{datetime.datetime.now(datetime.UTC):{STAMP}}"
    attempt = start_name(stamp, restarts)
    try:
        with (
            process_records(spec, stores.loop, attempt, f"rank{rank:03d}", rank) as records,
            MailboxDriver(mailbox, rank) as driver,
        ):
            log.info("worker started", extra={"fields": {"pid": os.getpid(), "begun": begun}})
            if topology.is_chief and restarts:
                driver.on_note(
                    f"attempt {restarts + 1} of the workers, {topology.world_size} of them,"
                    " from the last checkpoint"
                )
            worker.run(spec, stores, topology, driver, check_ownership, records)
    except DcganError as error:
        ray.get(mailbox.post_error.remote(error))
        raise
    finally:
        logging.getLogger("dcgan").removeHandler(handler)
