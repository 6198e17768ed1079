"""Inspect a process as a worker of a run: libraries, GPUs, memory, data, and one all-reduce.

Trains nothing and writes nothing. Knows no Ray.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import tensorflow as tf

from job.config.errors import DcganError
from job.config.spec import RunSpec
from job.config.versions import versions
from job.data.index import read_index
from job.run.stores import RunStores
from job.telemetry.resources import available_memory, free_disk, shared_memory
from job.training.collectives import Collectives
from job.training.strategy import create_strategy
from job.training.topology import Topology, with_workers

NUM_TIMED = 10
_GPU_MEMORY = ("nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Framework:
    """Keras as ``Keras VERSION on BACKEND``, and the GPUs that TensorFlow sees in this process."""

    keras: str
    gpus: tuple[str, ...]
    gpu_memory: int | None
    """Free bytes of the GPU that has the least; None without GPUs or ``nvidia-smi``."""


@dataclass(frozen=True)
class WorkerFacts:
    """One worker of a run; sizes in bytes, errors as text."""

    host: str
    versions: dict[str, str]
    framework: Framework
    memory: int
    shm: int | None
    cache_disk: int
    data_error: str | None
    error: str | None = None
    """The error that ended the inspection."""
    all_reduce_seconds: float | None = None
    """Of one all-reduce over all workers; None until it was done."""


def inspect_framework() -> Framework:
    """Return what TensorFlow sees, before it allocates anything."""
    devices = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(device) for device in devices]
    names = tuple(each.get("device_name", "unknown GPU") for each in details)
    backend = f"Keras {keras.version()} on {keras.backend.backend()}"
    return Framework(backend, names, _gpu_memory() if names else None)


def inspect_worker(
    spec: RunSpec, stores: RunStores, topology: Topology, post: Callable[[WorkerFacts], object]
) -> None:
    """Post the facts of this worker, and again with the time of an all-reduce over all workers.

    Must be called before any other TensorFlow operation of the process.
    """
    facts = WorkerFacts(
        socket.gethostname(),
        versions(),
        inspect_framework(),
        available_memory(),
        shared_memory(),
        free_disk(Path(spec.data.cache_dir)),
        _data_error(stores),
    )
    post(facts)
    try:
        strategy = create_strategy(with_workers(spec, topology.world_size))
    except DcganError as error:
        post(replace(facts, error=str(error)))
        return
    collectives = Collectives(
        strategy, is_chief=topology.is_chief, num_local=max(1, spec.workers.gpus)
    )
    for attempt in range(2):  # the first one is traced
        begun = time.monotonic()
        for _ in range(NUM_TIMED if attempt else 1):
            num_workers = collectives.sum_over_workers(workers=1)["workers"]
    seconds = (time.monotonic() - begun) / NUM_TIMED
    if num_workers == topology.world_size:
        post(replace(facts, all_reduce_seconds=seconds))
    else:
        post(replace(facts, error=f"an all-reduce of {topology.world_size} ones is {num_workers}"))


def _data_error(stores: RunStores) -> str | None:
    """Return why this worker cannot read the packed data; None if it can."""
    try:
        index = read_index(stores.data)
        stores.data.stream(index.shards[0].name, 0, 1, lambda piece: None)
    except DcganError as error:
        return str(error)
    return None


def _gpu_memory() -> int | None:
    if shutil.which(_GPU_MEMORY[0]) is None:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = [*_GPU_MEMORY, *([f"--id={visible}"] if visible else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    sizes = [int(line) for line in done.stdout.split() if line.isdigit()]
    return min(sizes) * 2**20 if sizes and done.returncode == 0 else None
