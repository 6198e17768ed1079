"""A group of worker processes without Ray: the program of one, and a function that starts all.

Each process makes the real strategy over ``TF_CONFIG``, trains a few steps on fixed images, case by
case, and writes its state of each to ``CASE-RANK.npz``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tests.servers.forked import Forked, forked
from tests.servers.ports import free_port

if TYPE_CHECKING:
    import tensorflow as tf

    from job.config.spec import RunSpec
    from job.gan.networks import Networks

ROOT = Path(__file__).parents[2]
IMAGE_SEED = 11
State = dict[str, np.ndarray]


class Case(NamedTuple):
    """One run of a group: the ``notebook`` preset with these settings, for ``steps`` steps."""

    overrides: list[str]
    steps: int = 1
    num_classes: int = 0  # of labels that are drawn; both networks are conditional then


def train_group(
    folder: Path,
    num_workers: int,
    cases: Mapping[str, Case],
    *,
    num_devices: int = 0,
    timeout: float = 500,
    fork: bool = True,
) -> dict[str, list[State]]:
    """Train every case in ``num_workers`` processes; return each worker's last state, by case.

    With ``num_devices`` each worker has that many replicas, on logical CPU devices that take the
    place of its GPUs. A state is each variable by ``part/name``, ``metrics`` ``[steps, 6]``, the
    ``latents`` of this worker, and ``unequal``, the names of variables that differ between its
    replicas.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dead_proxy = f"http://127.0.0.1:{free_port()}"  # workers never use it among themselves
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(num_workers)]
    processes = []
    try:
        for rank in range(num_workers):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            environment = {
                **os.environ,
                "TF_CONFIG": json.dumps(config),
                "TF_CPP_MIN_LOG_LEVEL": "2",
            }
            environment |= {
                "http_proxy": dead_proxy,
                "https_proxy": dead_proxy,
                "grpc_proxy": dead_proxy,
                "no_proxy": "example.com",
            }
            arguments = [
                str(folder),
                str(num_workers),
                str(num_devices),
                json.dumps(cases),
            ]
            processes.append(_start(arguments, environment, folder / f"rank-{rank}.log", fork))
        for rank, process in enumerate(processes):
            assert process.wait(timeout) == 0, (folder / f"rank-{rank}.log").read_text()[-3000:]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return {
        name: [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in range(num_workers)]
        for name in cases
    }


def _start(
    arguments: list[str], environment: Mapping[str, str], log: Path, fork: bool
) -> "subprocess.Popen[bytes] | Forked":
    if fork:
        return forked("tests.training.group", arguments, environment, log)
    command = [sys.executable, "-m", "tests.training.group", *arguments]
    with log.open("wb") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def _worker(folder: Path, num_workers: int, num_devices: int, cases: Mapping[str, Case]) -> None:
    from job.config.load import load_run
    from job.training.strategy import create_strategy

    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    fixed = [
        "uri=runs",
        "data.uri=data",
        f"workers.count={num_workers}",
        f"workers.gpus={num_devices}",
    ]
    specs = {
        name: load_run("notebook", overrides=[*fixed, *case.overrides])
        for name, case in cases.items()
    }
    strategy = (
        _strategy_on_logical_devices(num_devices)
        if num_devices
        else create_strategy(next(iter(specs.values())))
    )
    if not num_devices:  # with one thread to compute, one operation at a time
        import tensorflow as tf

        assert tf.config.threading.get_inter_op_parallelism_threads() == 1
    for name, spec in specs.items():
        np.savez(folder / f"{name}-{rank}.npz", **_train(spec, strategy, rank, cases[name]))


def _strategy_on_logical_devices(num_devices: int) -> "tf.distribute.Strategy":
    """Return the strategy of a worker with ``num_devices`` GPUs, on logical devices of the CPU.

    TensorFlow (2.21) gives a worker without GPUs one replica; only the list of its devices is
    replaced.
    """
    import tensorflow as tf
    from tensorflow.python.distribute.collective_all_reduce_strategy import (
        CollectiveAllReduceExtended,
    )

    from job.training.strategy import reach_workers_directly

    reach_workers_directly()
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices
    )
    CollectiveAllReduceExtended._initialize_local_devices = lambda self, resolver, worker_device: (
        tuple(f"{worker_device}/device:CPU:{index}" for index in range(num_devices)),
        "CPU",
    )
    return tf.distribute.MultiWorkerMirroredStrategy()


def _train(spec: "RunSpec", strategy: "tf.distribute.Strategy", rank: int, case: Case) -> State:
    import tensorflow as tf

    from job.checkpoints.arrays import pack
    from job.gan.latents import sample_latents
    from job.gan.networks import build_networks
    from job.gan.streams import Purpose
    from job.training import snapshot
    from job.training.collectives import Collectives
    from job.training.multi_step import build_train_call

    steps, num_classes = case.steps, case.num_classes
    with strategy.scope():
        networks = build_networks(spec, num_classes)
    batch, part, num_local = (
        spec.training.global_batch_size,
        spec.replica_batch_size,
        max(1, spec.workers.gpus),
    )
    here = part * num_local
    shape = (steps, batch, *spec.model.image_size, spec.model.channels)
    random, own = np.random.default_rng(IMAGE_SEED), slice(rank * here, (rank + 1) * here)
    images = random.integers(0, 256, shape, np.uint8)[:, own]
    labels = []
    if num_classes:
        drawn = random.integers(0, num_classes, (steps, batch), np.int32)[:, own]
        labels = [tf.constant(drawn[np.newaxis])]
    call = build_train_call(spec, strategy, networks)
    chunk = tf.constant(images[np.newaxis])  # one stripe
    metrics, _ = call(chunk, tf.constant(0, tf.int64), *labels)
    taken = snapshot.take(networks, steps).state
    state = {
        f"{part}/{key}": array for part, arrays in taken.items() for key, array in arrays.items()
    }
    unequal = _unequal(strategy, networks)
    if num_local > 1:  # what was saved comes back on every replica
        call(chunk, tf.constant(steps, tf.int64), *labels)
        snapshot.put(networks, {part: pack(arrays) for part, arrays in taken.items()}, spec)
        unequal += _unequal(strategy, networks)
        for name, arrays in snapshot.take(networks, steps).state.items():
            unequal += [
                key for key, array in arrays.items() if not np.array_equal(array, taken[name][key])
            ]

    def latents() -> tf.Tensor:
        first = (
            tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64) * part
        )
        return sample_latents(
            spec.seed, Purpose.LATENTS_GENERATOR, tf.constant(0, tf.int64), first, part, 8
        )

    drawn = np.concatenate(
        [each.numpy() for each in strategy.experimental_local_results(strategy.run(latents))]
    )
    collectives = Collectives(strategy, is_chief=rank == 0, num_local=num_local)
    agreed = [
        collectives.broadcast_from_chief(step=100 + rank)["step"],
        collectives.sum_over_workers(ranks=1 << rank)["ranks"],
    ]
    return {
        "metrics": metrics.numpy(),
        "latents": drawn,
        "agreed": np.asarray(agreed),
        "unequal": np.asarray(unequal, str),
        **state,
    }


def _unequal(strategy: "tf.distribute.Strategy", networks: "Networks") -> list[str]:
    """Return the names of variables whose values differ between the replicas of this process."""
    parts = [
        networks.generator,
        networks.discriminator,
        networks.generator_optimizer,
        networks.discriminator_optimizer,
    ]
    named = [(variable.path, variable.value) for part in parts for variable in part.variables]
    named += [(variable.name, variable) for variable in networks.ema]
    named += [(variable.name, variable) for variable in networks.adaptive or ()]
    values = {
        name: [replica.numpy() for replica in strategy.experimental_local_results(variable)]
        for name, variable in named
    }
    assert all(
        len(replicas) == len(strategy.extended.worker_devices) for replicas in values.values()
    )
    return [
        name
        for name, replicas in values.items()
        if not all(np.array_equal(replicas[0], other) for other in replicas)
    ]


if __name__ == "__main__":
    _worker(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]),
        {name: Case(*case) for name, case in json.loads(sys.argv[4]).items()},
    )
