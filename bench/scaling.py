"""Model the cost of a run on 8 to 4,096 GPUs: print the tables of docs/scaling.md.

    python -m bench.scaling             some five minutes of one core, most of them for `start`
    python -m bench.scaling --only step images shared

Order, shards, ranges, sizes and series are the program's, computed by it; the speed of a GPU, the
network, Ray's barrier and the store are the assumptions below. Nothing is trained.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from bench.scaling_start import (
    CONNECTION_BYTES,
    GETS_PER_SECOND,
    Plan,
    fetch_rate,
    simulate_start,
)
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.order import Order, needs, worker_positions
from job.data.shard_writer import shard_bytes_for
from job.launch.estimate import multiply_adds, num_weights
from job.storage.s3_client import PART_BYTES
from job.storage.store import REASONS
from job.streaming.events import RETRIES
from job.streaming.fetch import RANGE_BYTES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.stream_metrics import StreamMetrics

PRESETS = ("dcgan64", "fashion")
NUM_GPUS = (8, 64, 512, 4096)

# Assumptions. The images of a step grow with the GPUs (weak scaling).
GPUS_PER_WORKER = 8  # one worker process on each machine: workers.gpus
IMAGES_PER_GPU = 32  # of a step
NUM_IMAGES = 20_000_000
GPU_MULTIPLY_ADDS = 10e12  # per second that a GPU reaches
MIN_STEP_SECONDS = 0.003  # launching the kernels of a step
NETWORK_BYTES = 12.5e9  # per second and machine: 100 Gbit/s
MACHINE_BYTES = 200e9  # per second between the GPUs of one machine
HOP_SECONDS = 10e-6  # from one GPU to the next of a ring, or of a tree
BARRIER_SECONDS = 0.5e-3  # per worker, for Ray's actor to take a call and to answer it
SCRAPE_SECONDS = 15
SHARD_INDEX_BYTES = 160  # an entry of index.json, without labels
STATE_PARTS = 6  # .npz parts of a checkpoint with an averaged generator (job/training/snapshot.py)
OWNER_REQUESTS = 3  # before each change of the store: HEAD and GET of the lease, GET of the claim


def run_of(preset: str, num_gpus: int, gpus_per_worker: int = GPUS_PER_WORKER) -> RunSpec:
    """Return the run on ``num_gpus`` GPUs, without a data set."""
    count = num_gpus // gpus_per_worker
    overrides = [
        f"training.global_batch_size={num_gpus * IMAGES_PER_GPU}",
        f"workers.count={count}",
        f"workers.gpus={gpus_per_worker}",
    ]
    return load_run(preset, overrides=overrides, check=False)


def row_bytes(spec: RunSpec) -> int:
    return math.prod((*spec.model.image_size, spec.model.channels))


@cache
def order_of(spec: RunSpec, streams: int | None = None) -> Order:
    """Return the order over ``NUM_IMAGES`` images in shards of the default size."""
    shard_rows = shard_bytes_for(NUM_IMAGES, row_bytes(spec)) // row_bytes(spec)
    full, rest = divmod(NUM_IMAGES, shard_rows)
    rows = (shard_rows,) * full + ((rest,) if rest else ())
    return Order(rows, spec.training.global_batch_size, spec.seed, streams)


@cache
def downloads(order: Order, num_workers: int) -> int:
    """Return how many shards all workers download in an epoch, each into its own empty cache."""
    steps = order.steps_per_epoch
    return sum(
        len({need.shard for need in needs(order, positions, 0, steps)})
        for positions in (worker_positions(order, rank, num_workers) for rank in range(num_workers))
    )


def gets(order: Order, num_workers: int, shard_bytes: int) -> int:
    """Return the requests of ``downloads``."""
    return downloads(order, num_workers) * -(-shard_bytes // RANGE_BYTES)


def state_bytes(spec: RunSpec) -> tuple[int, ...]:
    """Return the bytes of the parts that a worker restores: float32 weights, Adam's two, G's."""
    generator, discriminator = (4 * weights for weights in num_weights(spec.model))
    return generator, discriminator, 2 * generator, 2 * discriminator, generator, 0


def restore_requests(num_parts: int) -> int:
    """Return the requests of a worker for a checkpoint: the manifest, HEAD and GET of each part."""
    return 1 + 2 * num_parts


def save_requests(part_bytes: tuple[int, ...]) -> int:
    """Return the requests of the chief to save a checkpoint and to remove the oldest one."""
    changes = len(part_bytes) + 3  # the old manifest and a mark deleted, the new manifest written
    in_parts = sum(2 + -(-size // PART_BYTES) - 1 for size in part_bytes if size >= PART_BYTES)
    prune = 2 + OWNER_REQUESTS + 1 + len(part_bytes)  # LIST, the new manifest, one folder
    return changes * (1 + OWNER_REQUESTS) + in_parts + prune


def num_series() -> int:
    """Return the time series of a worker, all of whose gauges are set."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics("run", 0, registry, save_reasons=(*REASONS, "refused"))
    StreamMetrics("run", 0, registry, RETRIES)
    metrics.build_info("0", "none", "0")
    return sum(len(family.samples) or 1 for family in registry.collect())


class Step(NamedTuple):
    """Seconds of a step's arithmetic and of its exchange, and of Ray's barrier after each call."""

    computing: float
    ring: float
    tree: float
    barrier: float

    def images_per_second(self, spec: RunSpec, exchange: float) -> float:
        steps = spec.training.steps_per_call
        call = steps * (self.computing + exchange) + self.barrier
        return steps * spec.training.global_batch_size / call


def step_of(spec: RunSpec) -> Step:
    """D's gradients and G's are exchanged one after the other, and while nothing is computed."""
    num_gpus, workers = spec.num_replicas, spec.workers.count
    link = NETWORK_BYTES if workers > 1 else MACHINE_BYTES
    sending = 2 * (num_gpus - 1) / num_gpus * 4 * sum(num_weights(spec.model)) / link
    return Step(
        max(MIN_STEP_SECONDS, IMAGES_PER_GPU * multiply_adds(spec) / GPU_MULTIPLY_ADDS),
        sending + 2 * 2 * (num_gpus - 1) * HOP_SECONDS,
        sending + 2 * 2 * math.log2(num_gpus) * HOP_SECONDS,
        workers * BARRIER_SECONDS,
    )


def step_table() -> Iterator[tuple[object, ...]]:
    yield (
        *("preset", "GPUs", "workers", "global batch", "computing, ms", "gradients, MB"),
        *("ring, ms", "tree, ms", "images/s, ring", "images/s, tree"),
        *("of those of GPUs alone, ring", "tree", "Ray's barrier, ms a call"),
    )
    for preset in PRESETS:
        for num_gpus in NUM_GPUS:
            spec = run_of(preset, num_gpus)
            step, batch = step_of(spec), spec.training.global_batch_size
            rates = [step.images_per_second(spec, each) for each in (step.ring, step.tree)]
            yield (
                *(preset, num_gpus, spec.workers.count, batch, f"{1e3 * step.computing:.1f}"),
                f"{4 * sum(num_weights(spec.model)) / 1e6:.0f}",
                *(f"{1e3 * seconds:.1f}" for seconds in (step.ring, step.tree)),
                *(round(rate) for rate in rates),
                *(f"{rate * step.computing / batch:.0%}" for rate in rates),
                f"{1e3 * step.barrier:.1f}",
            )


def images_table() -> Iterator[tuple[object, ...]]:
    yield (
        *("preset", "GPUs", "images used, GB/s", "streams", "downloads of a shard"),
        *("GET/s", "of one prefix's limit", "MB/s a worker"),
    )
    for preset in PRESETS:
        for num_gpus in NUM_GPUS:
            spec = run_of(preset, num_gpus)
            workers, size = spec.workers.count, shard_bytes_for(NUM_IMAGES, row_bytes(spec))
            step = step_of(spec)
            images_per_second = step.images_per_second(spec, step.tree)  # the faster exchange
            used = images_per_second * row_bytes(spec)
            for streams in (None, workers) if workers > 48 else (None,):
                order = order_of(spec, streams)
                epoch_seconds = NUM_IMAGES / images_per_second
                copies = downloads(order, workers) / len(order.shard_rows)
                rate = gets(order, workers, size) / epoch_seconds
                yield (
                    *(preset, num_gpus, f"{used / 1e9:.2f}", order.num_streams, f"{copies:.2f}"),
                    f"{rate:,.0f}",
                    f"{rate / GETS_PER_SECOND:.0%}",
                    f"{copies * used / workers / 1e6:,.0f}",
                )


def shared_table() -> Iterator[tuple[object, ...]]:
    yield (
        *("preset", "GPUs", "index.json, MB", "requests when all start, without shards"),
        *("checkpoint read by all, GB", "checkpoint, MB written", "requests", "upload, s"),
        *("series", "samples/s"),
    )
    for preset in PRESETS:
        for num_gpus in NUM_GPUS:
            spec = run_of(preset, num_gpus)
            workers, parts = spec.workers.count, state_bytes(spec)
            written = (*parts, parts[0])  # generator.keras
            per_second = min(NETWORK_BYTES, spec.storage.max_connections * CONNECTION_BYTES)
            yield (
                *(preset, num_gpus),
                f"{len(order_of(spec).shard_rows) * SHARD_INDEX_BYTES / 1e6:.1f}",
                workers * (2 + restore_requests(STATE_PARTS)),
                f"{workers * sum(parts) / 1e9:,.1f}",
                f"{sum(written) / 1e6:,.0f}",
                save_requests(written),
                f"{sum(written) / per_second:.1f}",
                workers * num_series(),
                f"{workers * num_series() / SCRAPE_SECONDS:,.0f}",
            )


def plan_of(spec: RunSpec, streams: int | None = None, fetch_ahead: int | None = None) -> Plan:
    """Return the start of a run with an empty cache and a checkpoint."""
    order = order_of(spec, streams)
    sharers = GPUS_PER_WORKER // spec.workers.gpus
    return Plan(
        order=order,
        shard_bytes=shard_bytes_for(NUM_IMAGES, row_bytes(spec)),
        num_workers=spec.workers.count,
        index_bytes=len(order.shard_rows) * SHARD_INDEX_BYTES,
        parts=state_bytes(spec),
        steps_per_call=spec.training.steps_per_call,
        fetch_ahead=spec.data.fetch_ahead_batches if fetch_ahead is None else fetch_ahead,
        share_bytes=spec.data.cache_bytes / sharers,
        connections=spec.storage.max_connections,
    )


def start_table() -> Iterator[tuple[object, ...]]:
    yield (
        *("workers", "GPUs of each", "setting", "restored, s", "first images, s: median, last"),
        *("requests granted", "503", "GB read", "longest wait of a request, s"),
    )
    for num_gpus, gpus_per_worker in ((64, 8), (512, 8), (4096, 8), (4096, 1)):
        spec = run_of("dcgan64", num_gpus, gpus_per_worker)
        workers = spec.workers.count
        plan = plan_of(spec)
        plans = {"defaults": plan}
        if gpus_per_worker == GPUS_PER_WORKER:
            name = "defaults, loads ahead from the first request on"
            plans[name] = replace(plan, is_first_call_alone=False)
        if workers > 48:
            streams = plan_of(spec, workers)
            few = plan_of(spec, workers, fetch_ahead=40)
            broadcast = replace(few, is_broadcast=True)
            plans |= {
                f"`data.streams: {workers}`": streams,
                "the same, `data.fetch_ahead_batches: 40`": few,
                "the same, only the chief reads the checkpoint": broadcast,
                "the same, shards under 16 prefixes": replace(broadcast, prefixes=16),
            }
        for name, plan in plans.items():
            started = simulate_start(plan)
            first = sorted(started.first_images)
            yield (
                *(workers, gpus_per_worker, name, f"{started.restored:.1f}"),
                f"{first[len(first) // 2]:.1f}, {first[-1]:.1f}",
                *(started.granted, started.refused, f"{started.num_bytes / 1e9:,.0f}"),
                f"{started.longest_wait:.0f}",
            )


def fetch_table() -> Iterator[tuple[object, ...]]:
    yield "workers that fetch without a pause", "prefixes", "ranges/s", "GB/s", "503/s"
    for workers, prefixes in ((8, 1), (64, 1), (512, 1), (512, 16), (4096, 1)):
        granted, refused = fetch_rate(workers, RunSpec().storage.max_connections, prefixes)
        yield (
            *(workers, prefixes, f"{granted:,.0f}", f"{granted * RANGE_BYTES / 1e9:,.1f}"),
            f"{refused:,.0f}",
        )


TABLES: dict[str, Callable[[], Iterator[tuple[object, ...]]]] = {
    "step": step_table,
    "images": images_table,
    "shared": shared_table,
    "start": start_table,
    "fetch": fetch_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    for name in parser.parse_args().only:
        for number, row in enumerate(TABLES[name]()):
            cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
            print(f"| {' | '.join(cells)} |", flush=True)
            if number == 0:
                print("|" + " --- |" * len(row))
        print()


if __name__ == "__main__":
    main()
