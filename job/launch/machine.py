"""Check this machine before a cluster starts on it: cores, GPUs, free ports.

Loads Ray only to count GPUs. With ``RAY_ADDRESS`` the workers run elsewhere: their resources are
checked when the cluster is joined, their ports when they start.
"""

from collections.abc import Mapping, Sequence

from job import LIBRARY_ENV
from job.config.errors import ConfigError
from job.config.host import is_local, usable_cores
from job.config.spec import RunSpec, WorkerSpec
from job.telemetry.server import check_port

LOOPBACK = "127.0.0.1"
# Of every process with TensorFlow that is started through Ray.
WORKER_ENV = {**LIBRARY_ENV, "TF_CPP_MIN_LOG_LEVEL": "2"}
MIN_LOCAL_CORES = 4  # offered on a smaller machine, too: slow, but enough for a trial


def check_machine(spec: RunSpec) -> None:
    """Raise ``ConfigError`` if cores, GPUs or a metrics port for local workers are missing."""
    if not is_local():
        return
    room, node = local_room(spec.workers), _local_node(spec.workers)
    if room < spec.workers.min_workers:
        raise no_room(spec.workers, [node], "on this machine")
    if spec.metrics.enabled and spec.metrics.port:
        for local_rank in range(min(room, spec.workers.max_workers)):
            check_port(spec.metrics.port + local_rank, with_metrics_host(spec).metrics.host or "")


def local_room(workers: WorkerSpec) -> int:
    """Return how many of these workers have room on this machine."""
    return num_bundles([_local_node(workers)], bundle(workers))


def _local_node(workers: WorkerSpec) -> dict[str, float]:
    return {"CPU": float(local_cores()), "GPU": float(num_gpus() if workers.gpus else 0)}


def with_metrics_host(spec: RunSpec) -> RunSpec:
    """Return ``spec`` with ``metrics.host`` on loopback if it is unset and the cluster private."""
    if spec.metrics.host is not None or not is_local():
        return spec
    return spec.replace(metrics=spec.metrics.replace(host=LOOPBACK))


def unchecked(spec: RunSpec) -> str:
    """Return a list of what ``--dry-run`` does not check."""
    parts = ["whether the run folder can be written"]
    if spec.workers.gpus:
        parts.append("whether TensorFlow finds the GPUs")
    if not is_local():
        parts.append("room for the workers and free ports in the cluster that RAY_ADDRESS names")
    return ", ".join(parts)


def local_cores() -> int:
    """Return the number of cores that a cluster on this machine offers to workers."""
    return max(usable_cores(), MIN_LOCAL_CORES)


def bundle(workers: WorkerSpec) -> dict[str, float]:
    """Return the resources of one worker by Ray's names."""
    return {"CPU": workers.cpus, "GPU": float(workers.gpus)}


def num_bundles(nodes: Sequence[Mapping[str, float]], bundle: Mapping[str, float]) -> int:
    """Return how many workers of ``bundle`` fit on ``nodes``; a worker never spans two."""
    needed = {name: amount for name, amount in bundle.items() if amount > 0}
    return sum(
        int(min(node.get(name, 0.0) / amount + 1e-9 for name, amount in needed.items()))
        for node in nodes
    )


def no_room(workers: WorkerSpec, nodes: Sequence[Mapping[str, float]], where: str) -> ConfigError:
    """Return the error for ``nodes``, located ``where``, that cannot hold all workers."""
    total = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    return ConfigError(
        f"{'workers.count' if workers.min is None else 'workers.min'} is {workers.min_workers},"
        f" each with {_amounts(bundle(workers))};"
        f" found room for {num_bundles(nodes, bundle(workers))} {where} with {_amounts(total)}."
        " Lower workers.count, workers.cpus or workers.gpus, or add nodes"
    )


def _amounts(resources: Mapping[str, float]) -> str:
    return " and ".join(
        f"{amount:g} {name}{'' if amount == 1 else 's'}" for name, amount in resources.items()
    )


def num_gpus() -> int:
    """Return the number of GPUs that Ray finds here, counted by Ray (2.60: no public name)."""
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager = get_accelerator_manager_for_resource("GPU")
    if manager is None:
        return 0
    found = manager.get_current_node_num_accelerators()
    visible = manager.get_current_process_visible_accelerator_ids()
    return found if visible is None else min(found, len(visible))
