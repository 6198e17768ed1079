"""A group of worker processes without Ray: what one of them runs, and how a test starts them all.

Each process makes the real strategy over ``TF_CONFIG``, trains a few steps on fixed images and leaves its state in ``rank-N.npz``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.servers.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE_SEED = 11


def train_group(
    folder: Path, num_workers: int, overrides: list[str], steps: int = 1, *, timeout: float = 180
) -> list[dict[str, np.ndarray]]:
    """State of every worker after ``steps`` steps: each variable by ``part/name``, ``metrics`` ``[steps, 4]`` and this rank's ``latents``."""
    folder.mkdir(parents=True, exist_ok=True)
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(num_workers)]
    processes = []
    try:
        for rank in range(num_workers):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}
            arguments = [sys.executable, "-m", "tests.training.group", str(folder), str(num_workers), str(steps), *overrides]
            with open(folder / f"rank-{rank}.log", "wb") as log:
                processes.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT))
        for rank, process in enumerate(processes):
            assert process.wait(timeout) == 0, (folder / f"rank-{rank}.log").read_text()[-3000:]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return [dict(np.load(folder / f"rank-{rank}.npz")) for rank in range(num_workers)]


def _worker(folder: Path, num_workers: int, steps: int, overrides: list[str]) -> None:
    from job.config.load import load_run
    from job.training.strategy import create_strategy

    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    spec = load_run("notebook", overrides=["uri=runs", "data.uri=data", f"workers.count={num_workers}", *overrides])
    strategy = create_strategy(spec)

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
    metrics, _ = build_call(spec, strategy, networks)(tf.constant(images[np.newaxis]), tf.constant(0, tf.int64))  # one strip.numpy()
    taken = snapshot.take(networks, steps).state
    state = {f"{part}/{key}": array for part, arrays in taken.items() for key, array in arrays.items()}

    def latents() -> tf.Tensor:
        first = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64) * part
        return sample_latents(spec.seed, Purpose.LATENTS_GENERATOR, tf.constant(0, tf.int64), first, part, 8)

    drawn = strategy.experimental_local_results(strategy.run(latents))[0].numpy()
    np.savez(
        folder / f"rank-{rank}.npz",
        metrics=metrics,
        latents=drawn,
        agreed=Agreement(strategy, 2)([100 + rank if rank == 0 else 0, 1 << rank]),
        **state,
    )


if __name__ == "__main__":
    _worker(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
