"""A group of worker processes without Ray: what one of them runs, and how a test starts them all.

Each process makes the real strategy over ``TF_CONFIG``, trains a few steps on fixed images, case by case, and leaves its state of each in
``CASE-RANK.npz``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tests.servers.ports import free_port

if TYPE_CHECKING:
    import tensorflow as tf

    from job.config.spec import RunSpec

ROOT = Path(__file__).parents[2]
IMAGE_SEED = 11
State = dict[str, np.ndarray]


class Case(NamedTuple):
    """What one run of a group trains: the ``notebook`` preset with these settings, for ``steps`` steps."""

    overrides: list[str]
    steps: int = 1


def train_group(folder: Path, num_workers: int, cases: Mapping[str, Case], *, timeout: float = 180) -> dict[str, list[State]]:
    """Of each case, from a start of its own variables in the same processes, the state of every worker at its end.

    A state is each variable by ``part/name``, ``metrics`` ``[steps, 4]`` and this rank's ``latents``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(num_workers)]
    processes = []
    try:
        for rank in range(num_workers):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}
            arguments = [sys.executable, "-m", "tests.training.group", str(folder), str(num_workers), json.dumps(cases)]
            with open(folder / f"rank-{rank}.log", "wb") as log:
                processes.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT))
        for rank, process in enumerate(processes):
            assert process.wait(timeout) == 0, (folder / f"rank-{rank}.log").read_text()[-3000:]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return {name: [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in range(num_workers)] for name in cases}


def _worker(folder: Path, num_workers: int, cases: Mapping[str, Case]) -> None:
    from job.config.load import load_run
    from job.training.strategy import create_strategy

    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    fixed = ["uri=runs", "data.uri=data", f"workers.count={num_workers}"]
    specs = {name: load_run("notebook", overrides=[*fixed, *case.overrides]) for name, case in cases.items()}
    strategy = create_strategy(next(iter(specs.values())))
    for name, spec in specs.items():
        np.savez(folder / f"{name}-{rank}.npz", **_train(spec, strategy, rank, cases[name].steps))


def _train(spec: "RunSpec", strategy: "tf.distribute.Strategy", rank: int, steps: int) -> State:
    import tensorflow as tf

    from job.gan.latents import sample_latents
    from job.gan.networks import build_networks
    from job.gan.streams import Purpose
    from job.training import snapshot
    from job.training.call import build_call
    from job.training.strategy import Agreement

    with strategy.scope():
        networks = build_networks(spec)
    batch, part = spec.training.global_batch_size, spec.replica_batch_size
    shape = (steps, batch, *spec.model.image_size, spec.model.channels)
    images = np.random.default_rng(IMAGE_SEED).integers(0, 256, shape, np.uint8)[:, rank * part : (rank + 1) * part]
    metrics, _ = build_call(spec, strategy, networks)(tf.constant(images[np.newaxis]), tf.constant(0, tf.int64))  # one strip
    state = {f"{part}/{key}": array for part, arrays in snapshot.take(networks, steps).state.items() for key, array in arrays.items()}

    def latents() -> tf.Tensor:
        first = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64) * part
        return sample_latents(spec.seed, Purpose.LATENTS_GENERATOR, tf.constant(0, tf.int64), first, part, 8)

    drawn = strategy.experimental_local_results(strategy.run(latents))[0].numpy()
    agreed = Agreement(strategy, 2)([100 + rank if rank == 0 else 0, 1 << rank])
    return {"metrics": metrics.numpy(), "latents": drawn, "agreed": np.asarray(agreed), **state}


if __name__ == "__main__":
    _worker(Path(sys.argv[1]), int(sys.argv[2]), {name: Case(*case) for name, case in json.loads(sys.argv[3]).items()})
