"""Inspect the cluster and the workers of a run without training, started as ``train`` starts them.

The workers post their facts to an actor, because Ray Train's own reports stay with its controller.
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ray

from job.config.errors import DcganError
from job.config.spec import RunSpec, WorkerSpec
from job.launch.cluster import alive_nodes, cluster, connection
from job.launch.failure import raise_failure
from job.launch.fork_server import fork_server
from job.launch.machine import WORKER_ENV, bundle, num_bundles
from job.launch.mailbox import on_this_node
from job.launch.trainer import POLL_SECONDS, fit_task

# From the facts of all workers to the end of the all-reduce: seconds, if the network lets it pass.
ALL_REDUCE_SECONDS = 120.0


class ClusterFacts(NamedTuple):
    """The joined cluster: its nodes, the workers that fit on them, and if it requires a token."""

    num_nodes: int
    room: int
    has_token: bool


class Inspection(NamedTuple):
    """The facts of each worker by rank (``WorkerFacts``), and why there are no more of them."""

    facts: dict[int, Any]
    failure: DcganError | None


def inspect_cluster(workers: WorkerSpec) -> ClusterFacts:
    """Join the cluster that ``RAY_ADDRESS`` names, and leave it; ``ConfigError`` if that fails."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    with connection(lambda what: None):
        nodes = alive_nodes()
        return ClusterFacts(
            len(nodes), num_bundles(nodes, bundle(workers)), is_token_auth_enabled()
        )


def inspect_workers(
    spec: RunSpec, note: Callable[[str], None], *, all_reduce_seconds: float = ALL_REDUCE_SECONDS
) -> Inspection:
    """Start the workers of ``spec`` and return their facts, when the all-reduce is done or late.

    ``note`` gets a text whenever a wait begins. Raises ``ConfigError`` if they have no room.
    """
    workers = spec.workers.replace(max_restarts=0)
    folder = tempfile.TemporaryDirectory(prefix="dcgan-train-ray-", ignore_cleanup_errors=True)
    with (
        fork_server(workers) as pythons,
        folder as ray_storage,
        cluster(workers, lambda what: note(f"waiting for {what}")),
    ):
        facts = ray.remote(num_cpus=0, scheduling_strategy=on_this_node())(_Facts).remote()
        config = {"spec": spec, "facts": facts}
        worker_env = pythons.runtime_env(WORKER_ENV, "tensorflow")
        fit = fit_task(_fit, workers, pythons)
        fitting = fit.remote(workers, config, worker_env, ray_storage)
        note("waiting for the workers to start")
        deadline = time.monotonic() + workers.start_timeout_seconds
        has_all = False
        while not ray.wait([fitting], timeout=POLL_SECONDS)[0]:
            found, world_size = ray.get(facts.read.remote())
            if not has_all and found and len(found) == world_size:
                has_all, deadline = True, time.monotonic() + all_reduce_seconds
                note("waiting for an all-reduce of the workers")
            if time.monotonic() > deadline or any(each.error for each in found.values()):
                return Inspection(found, None)
        found, _ = ray.get(facts.read.remote())
        try:
            raise_failure(fitting, workers)
        except DcganError as error:
            return Inspection(found, error)
        return Inspection(found, None)


class _Facts:
    """The actor's class."""

    def __init__(self) -> None:
        self._found: dict[int, Any] = {}
        self._world_size = 0

    def post(self, rank: int, world_size: int, facts: Any) -> None:
        self._found[rank], self._world_size = facts, world_size

    def read(self) -> tuple[dict[int, Any], int]:
        return self._found, self._world_size


def _fit(
    workers: WorkerSpec, config: dict[str, Any], worker_env: dict[str, Any], ray_storage: str
) -> None:
    from job.launch.tensorflow_trainer import new_trainer

    trainer = new_trainer(
        _inspect, workers, config, worker_env, ray_storage, max_restarts=0, is_private=False
    )
    trainer.fit()


def _inspect(config: dict[str, Any]) -> None:
    """Inspect one worker, in its process."""
    import ray.train

    from job.run.stores import open_stores
    from job.training.inspection import inspect_worker
    from job.training.topology import Topology

    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    spec, facts = config["spec"], config["facts"]
    topology = Topology(rank, size, local_world_size=context.get_local_world_size())

    def post(found: Any) -> None:
        ray.get(facts.post.remote(rank, size, found))

    inspect_worker(spec, open_stores(spec), topology, post)
