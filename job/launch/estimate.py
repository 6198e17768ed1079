"""Estimate the training time before a run starts.

From the run's own earlier speed, or from the networks' arithmetic and a probe of this machine.
Loads no TensorFlow. Counts the multiply-adds of convolutions and dense layers; everything else is
part of the measured share.
"""

import math
import time

import numpy as np

from job.config.errors import StorageError
from job.config.host import is_local, usable_cores
from job.config.model import ModelSpec
from job.config.spec import RunSpec
from job.data.json_fields import read_object
from job.run.layout import STATUS
from job.run.status_file import MAX_BYTES
from job.storage.uri import open_store
from job.training.preflight import Preflight

PROBE_SECONDS = 1.0
_PROBE_SIDE = 1024
# Share of the matrix-product rate that a training step reaches: 0.37 (`notebook`) and 0.48
# (`fashion`) on an EPYC, 1.0 on a Xeon, where TensorFlow multiplies faster than NumPy
# (docs/training.md).
_SHARE = 0.6
_FACTOR = 2.0  # the estimate may be wrong by this much either way


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
    generator, discriminator = _generator(spec.model), _discriminator(spec.model)
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


def _generator(model: ModelSpec) -> float:
    spec = model.generator
    height, width = (side // 2 ** len(spec.filters) for side in model.image_size)
    channels = spec.filters[0]
    total = spec.latent_size * height * width * channels
    for filters in (*spec.filters[1:], model.channels):
        outputs = 4 * filters if spec.upsampling == "subpixel" else filters
        total += height * width * spec.kernel_size**2 * channels * outputs
        height, width, channels = 2 * height, 2 * width, filters
    return float(total)


def _discriminator(model: ModelSpec) -> float:
    spec = model.discriminator
    height, width = model.image_size
    channels, total = model.channels, 0
    for filters in spec.filters:
        height, width = -(-height // 2), -(-width // 2)
        total += height * width * spec.kernel_size**2 * channels * filters
        channels = filters
    return float(total + height * width * channels)


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
        status = read_object(open_store(spec.uri, spec.storage), STATUS, MAX_BYTES)
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
