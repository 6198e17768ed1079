"""Measure images per second of the training step, for variants of a preset, interleaved.

    python -m bench.step notebook fashion fashion:training.precision=bfloat16
    python -m bench.step --workers 2 fashion fashion:training.batch_norm=synchronized

A variant is a preset and, after a colon, ``--set`` values joined by commas. All variants are built
first. Each round then times one call of each in turn, so that a change of the machine's speed
affects all. Prints the median of the rounds and the ratio to the first variant.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import job  # noqa: F401  before TensorFlow: no settings of ~/.keras
from bench.machine import free_port

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NUM_IMAGES = 60_000  # of the data set, for values that are auto


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="+", metavar="PRESET[:KEY=VALUE,...]")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes, in one MultiWorkerMirroredStrategy"
    )
    parser.add_argument(
        "--cpus",
        type=int,
        default=None,
        help="compute threads of each process; default: cores / workers",
    )
    parser.add_argument("--batch", type=int, default=64, help="global batch size")
    parser.add_argument("--gpus", type=int, default=0, help="of each process")
    parser.add_argument("--no-tf32", action="store_true", help="products of whole float32 on GPUs")
    parser.add_argument("--steps", type=int, default=10, help="steps per call")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if "TF_CONFIG" in os.environ:
        measure(arguments)
        return
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(arguments.workers)]
    processes = []
    for rank in range(arguments.workers):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "bench.step", *sys.argv[1:]],
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
            )
        )
    sys.exit(max(process.wait() for process in processes))


def measure(arguments: argparse.Namespace) -> None:
    """Build every variant in this worker process and time them in turn; the chief prints."""
    import numpy as np
    import tensorflow as tf

    from job.config.load import load_run
    from job.gan.networks import build_networks
    from job.training.automatic import without_auto
    from job.training.multi_step import build_train_call
    from job.training.strategy import create_strategy

    cpus = arguments.cpus or max(1, (os.cpu_count() or 1) // arguments.workers)
    shared = [
        "uri=a",
        "data.uri=b",
        f"workers.count={arguments.workers}",
        f"workers.cpus={cpus}",
        f"workers.gpus={arguments.gpus}",
        f"training.global_batch_size={arguments.batch}",
    ]
    specs = []
    for variant in arguments.variants:
        preset, _, values = variant.partition(":")
        spec = load_run(preset, overrides=[*shared, *(values.split(",") if values else [])])
        specs.append(without_auto(spec, NUM_IMAGES))
    tf.config.experimental.enable_tensor_float_32_execution(not arguments.no_tf32)
    strategy = create_strategy(specs[0])
    calls, chunks = [], []
    for spec in specs:
        with strategy.scope():
            networks = build_networks(spec)
        calls.append(build_train_call(spec, strategy, networks))
        shape = (
            1,
            arguments.steps,
            spec.replica_batch_size,
            *spec.model.image_size,
            spec.model.channels,
        )
        chunks.append(tf.constant(np.random.default_rng(0).integers(0, 256, shape, np.uint8)))
    seconds: list[list[float]] = [[] for _ in specs]
    for round_number in range(arguments.rounds + 1):
        for number, (call, chunk) in enumerate(zip(calls, chunks, strict=True)):
            started = time.perf_counter()
            call(chunk, tf.constant(0, tf.int64))[0].numpy()
            if round_number > 0:  # the first is tracing
                seconds[number].append(time.perf_counter() - started)
    if json.loads(os.environ["TF_CONFIG"])["task"]["index"] != 0:
        return
    medians = [statistics.median(times) for times in seconds]
    print(
        f"{arguments.workers} processes of {cpus} threads, {arguments.gpus} GPUs each,"
        f" global batch {arguments.batch}, {arguments.steps} steps a call,"
        f" {platform.processor() or platform.machine()}, {os.cpu_count()} cores\n"
    )
    print(
        "| variant | images/s | min | max | ratio to the first |\n| --- | --- | --- | --- | --- |"
    )
    images = arguments.steps * arguments.batch
    for variant, times, median in zip(arguments.variants, seconds, medians, strict=True):
        print(
            f"| `{variant}` | {images / median:.0f} | {images / max(times):.0f} |"
            f" {images / min(times):.0f} | {medians[0] / median:.2f} |"
        )


if __name__ == "__main__":
    main()
