"""Estimate the training time and the memory of a worker before a run starts.

The time from the run's own earlier speed, or from the networks' arithmetic and a probe of this
machine; the memory from the sizes of the layers. Loads no TensorFlow. Counts convolutions and dense
layers; everything else is part of the measured constants.
"""

import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from job.config.errors import StorageError
from job.config.host import is_local, usable_cores
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.config.text import bytes_text, counted
from job.data.json_fields import read_object
from job.launch.machine import local_room
from job.run.layout import STATUS
from job.run.status_file import MAX_BYTES
from job.training.preflight import Preflight

PROBE_SECONDS = 1.0
_PROBE_SIDE = 1024
# Share of the matrix-product rate that a training step reaches: on an EPYC 0.6 to 0.77
# (docs/performance.md) but 0.26 for the few filters of `small64`; 1.0 on a Xeon, where TensorFlow
# multiplies faster than NumPy.
_SHARE = 0.6
_FACTOR = 3.0  # the estimate may be wrong by this much either way
# Of a worker's memory. Measured on a CPU (docs/performance.md, Memory): TensorFlow with Ray and
# boto3, and the values that an image's step keeps of each output of a layer: of G its activation,
# normalization and gradient; of D those and the mask, for a real and a generated image.
_PROCESS_BYTES = 1050 * 10**6
_KEPT_OF_G, _KEPT_OF_D = 3, 8
_POOL = 1.35  # TensorFlow's pool grows in steps and has gaps: 1.02 to 1.26 measured
_FLOAT_BYTES = 4
_CHUNKS = 3  # of a train call's images: read, ready and in use
_RAY_BYTES = 1_200 * 10**6  # of a local Ray, Ray Train's processes and the driver
MEMORY_ADVICE = (
    "lower training.global_batch_size, training.steps_per_call or workers.count, or provide more"
    " memory; the estimate may be 30 % off"
)
_GPU_PROCESS_BYTES = 10**9  # CUDA's and cuDNN's own, on the GPU and beside it; not measured


def time_text(checked: Preflight, rate: float | None = None) -> str:
    """Return one line with the estimated time, its uncertainty and its source.

    ``rate`` is this machine's multiply-adds per second; None measures it for a second.
    """
    spec = checked.spec
    steps = checked.schedule.total_steps - (checked.resumed.step if checked.resumed else 0)
    num_images = steps * spec.training.global_batch_size
    if measured := _measured_images_per_second(checked):
        return (
            f"time: about {_about(num_images / measured)} at the {measured:,.0f} images/s that this"
            " run measured before"
        )
    if not is_local() or spec.workers.gpus:
        return (
            "time: known after the first steps; it is estimated for CPU workers on this machine, or"
            " from an earlier attempt of the run"
        )
    cores = usable_cores()
    busy = min(cores, spec.workers.count * max(1, round(spec.workers.cpus))) / cores
    images_per_second = _SHARE * busy * (rate or probe()) / multiply_adds(spec)
    seconds = num_images / images_per_second
    return (
        f"time: {_about(seconds / _FACTOR)} to {_about(seconds * _FACTOR)}, if nothing else runs"
        " here; estimated from the networks' arithmetic and a probe of this machine"
    )


def multiply_adds(spec: RunSpec) -> float:
    """Return the multiply-adds of training on one image; a backward pass counts as two forward.

    ``alternating``: through G two passes forward and one backward; through D three forward, two
    backward, and one for its input only. ``simultaneous``: through G one forward and one backward;
    through D two forward, two backward, and one for its input only.
    """
    generator = _multiply_adds(_generator(spec.model))
    discriminator = _multiply_adds(_discriminator(spec.model))
    if spec.training.updates == "alternating":
        return 4 * generator + 8 * discriminator
    return 3 * generator + 7 * discriminator


def probe(seconds: float = PROBE_SECONDS) -> float:
    """Return the float32 multiply-adds per second of all idle cores, by processor time."""
    matrix = np.ones((_PROBE_SIDE, _PROBE_SIDE), np.float32)
    product = matrix @ matrix  # the first one starts the threads
    started, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < seconds:
        np.matmul(matrix, matrix, out=product)
        count += 1
    return count * _PROBE_SIDE**3 / (time.process_time() - used) * usable_cores()


def memory_bytes(spec: RunSpec) -> tuple[int, int]:
    """Return the estimated bytes of a worker's process, and of each of its GPUs; 0 without any."""
    training, model = spec.training, spec.model
    generator, discriminator = list(_generator(model)), list(_discriminator(model))
    weights = sum(num_weights(model))
    # Each weight with its gradient, the optimizer's and averaged values, and two copies that are
    # saved.
    network = _FLOAT_BYTES * weights * (7 + training.is_averaged)
    kept = _KEPT_OF_G * sum(layer.outputs for layer in generator)
    kept += _KEPT_OF_D * sum(layer.outputs for layer in discriminator)
    size = 2 if training.precision == "bfloat16" else _FLOAT_BYTES
    pool = round(_POOL * (network + kept * size * spec.replica_batch_size))
    height, width = model.image_size
    images = height * width * model.channels * training.global_batch_size // spec.workers.count
    chunks = _CHUNKS * images * training.steps_per_call
    if spec.workers.gpus:
        return _PROCESS_BYTES + _GPU_PROCESS_BYTES + chunks, pool + _GPU_PROCESS_BYTES
    return _PROCESS_BYTES + chunks + pool, 0


def run_memory(spec: RunSpec) -> tuple[str, int]:
    """Return what the workers and Ray need on this machine, as text and as bytes together."""
    process, gpu = memory_bytes(spec)
    count = max(min(local_room(spec.workers), spec.workers.max_workers), spec.workers.min_workers)
    workers = f"{counted(count, 'worker')} of about {bytes_text(process)}"
    on_gpu = f", {bytes_text(gpu)} of each GPU" if gpu else ""
    needed = process * count + _RAY_BYTES
    return f"{workers}{on_gpu} and {bytes_text(_RAY_BYTES)} for Ray and this program", needed


def memory_warning(spec: RunSpec, available: int) -> str | None:
    """Return one line if ``spec`` would train here and not fit in ``available`` bytes."""
    if not is_local():
        return None
    found, needed = run_memory(spec)
    if needed <= available:
        return None
    return (
        f"warning: memory: needs about {bytes_text(needed)} ({found}), and {bytes_text(available)}"
        f" are available; {MEMORY_ADVICE}"
    )


def num_weights(model: ModelSpec) -> tuple[int, int]:
    """Return the weights of G and of D, without biases and normalization (under 1 %)."""
    return (
        sum(layer.weights for layer in _generator(model)),
        sum(layer.weights for layer in _discriminator(model)),
    )


class _Layer(NamedTuple):
    """A convolution or a dense layer: its weights, their uses on an image, and its outputs."""

    weights: int
    uses: int
    outputs: int


def _generator(model: ModelSpec) -> Iterator[_Layer]:
    spec = model.generator
    height, width = (side // 2 ** len(spec.filters) for side in model.image_size)
    channels = spec.filters[0]
    values = height * width * channels
    # The default length of an embedding depends on the data: at most as long as a latent vector.
    embedding = (spec.embedding_size or spec.latent_size) if model.conditional else 0
    yield _Layer((spec.latent_size + embedding) * values, 1, values)
    for filters in (*spec.filters[1:], model.channels):
        outputs = 4 * filters if spec.upsampling == "subpixel" else filters
        positions = height * width
        weights = spec.kernel_size**2 * channels * outputs
        yield _Layer(weights, positions, 4 * positions * filters)
        height, width, channels = 2 * height, 2 * width, filters


def _discriminator(model: ModelSpec) -> Iterator[_Layer]:
    spec = model.discriminator
    height, width = model.image_size
    channels = model.channels
    for filters in spec.filters:
        height, width = -(-height // 2), -(-width // 2)
        positions = height * width
        yield _Layer(spec.kernel_size**2 * channels * filters, positions, positions * filters)
        channels = filters
    yield _Layer(height * width * channels, 1, 1)


def _multiply_adds(layers: Iterable[_Layer]) -> float:
    return float(sum(layer.weights * layer.uses for layer in layers))


def _measured_images_per_second(checked: Preflight) -> float | None:
    """Return the speed of the last attempt with as many workers and the same settings, if known."""
    spec, resumed = checked.spec, checked.resumed
    if (
        not resumed
        or resumed.world_size != spec.workers.count
        or any(key.startswith("training.") for key in checked.changes)
    ):
        return None
    try:
        status = read_object(checked.stores.folder, STATUS, MAX_BYTES)
    except StorageError:
        return None
    progress = status.get("progress")
    speed = progress.get("images_per_second") if isinstance(progress, dict) else None
    return float(speed) if isinstance(speed, int | float) and 0 < speed < math.inf else None


def _about(seconds: float) -> str:
    """Return ``40 s``, ``12 min``, ``3.4 h`` or ``2.1 days``."""
    for limit, unit, size in ((90, "s", 1), (90 * 60, "min", 60), (36 * 3600, "h", 3600)):
        if seconds < limit:
            return (
                f"{seconds / size:.2g} {unit}"
                if unit == "h"
                else f"{max(1, round(seconds / size))} {unit}"
            )
    return f"{seconds / 86400:.2g} days"
