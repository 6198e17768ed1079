"""Measure generated images per second beside plain Keras and ONNX Runtime, interleaved.

    python bench/generate.py runs/first
    python bench/generate.py runs/first --onnx generator.onnx     # needs `pip install onnxruntime`

`generator.onnx` is written by `keras.Model.export(..., format="onnx")`, which needs `tf2onnx`.
Every contender is a separate process, because TensorFlow's threads are set once in a process. All
are started first; each round then times one of them after the other, so that a change of the
machine's speed affects all. Ours draws the latents and makes uint8 pixels; the others get latents
and make floats. Prints the median and the range of the rounds, and the processor's time for an
image, which other programs on the machine change less.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import job  # noqa: F401  before TensorFlow: no settings of ~/.keras

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CONTENDERS = {
    "images": "ours: images in memory",
    "shards": "ours: --format shards, written",
    "tar": "ours: --format tar, written",
    "predict:32": "Keras predict, batch 32",
    "predict:256": "Keras predict, batch 256",
    "call:64": "Keras model in a tf.function, batch 64",
    "onnx:64": "ONNX Runtime, batch 64",
    "onnx:256": "ONNX Runtime, batch 256",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="run folder or checkpoint")
    parser.add_argument("--onnx", help="the same generator as an ONNX file")
    parser.add_argument("--num", type=int, default=8192, help="images a round, a multiple of 256")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return
    chosen = [name for name in CONTENDERS if arguments.onnx or not name.startswith("onnx")]
    workers = {name: _start(name) for name in chosen}
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    busy_seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for number in range(arguments.rounds + 1):
        for name, worker in workers.items():
            worker.stdin.write("go\n")
            worker.stdin.flush()
            seconds, busy = map(float, worker.stdout.readline().split())
            if number:  # the first round traces and warms up
                rates[name].append(arguments.num / seconds)
                busy_seconds[name].append(busy / arguments.num)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    for name, found in rates.items():
        low, high = min(found), max(found)
        median = statistics.median(found)
        busy = 1e6 * statistics.median(busy_seconds[name])
        print(f"| {CONTENDERS[name]} | {median:,.0f} | {low:,.0f} to {high:,.0f} | {busy:.0f} |")


def _start(name: str) -> subprocess.Popen[str]:
    command = [sys.executable, *sys.argv, "--serve", name]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def serve(arguments: argparse.Namespace) -> None:
    """Time one contender for every line on standard input."""
    kind, _, batch = arguments.serve.partition(":")
    if kind == "onnx":
        run = _onnx(arguments.onnx, arguments.num, int(batch))
    elif kind in ("predict", "call"):
        run = _keras(arguments.checkpoint, arguments.num, kind, int(batch))
    else:
        run = _ours(arguments.checkpoint, arguments.num, kind)
    for _ in sys.stdin:
        begun, busy = time.perf_counter(), time.process_time()
        run()
        print(time.perf_counter() - begun, time.process_time() - busy, flush=True)


def _ours(checkpoint: str, num_images: int, kind: str) -> Callable[[], object]:
    from job.config.storage import StorageSpec
    from job.synthesis.images import Sampler
    from job.synthesis.maker import PartMaker
    from job.synthesis.plan import IndexRange
    from job.synthesis.request import Request

    maker = PartMaker(checkpoint, StorageSpec())
    if kind == "images":
        sampler = Sampler(maker.source.generator, 0)
        ranges = [IndexRange(0, num_images)]
        return lambda: sum(
            len(block.images) for block in sampler.blocks(ranges, lambda block: block)
        )

    plan = maker.plan(Request(checkpoint, "", kind, num_images))

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            maker.make(plan, folder, list(plan.parts()))

    return write


def _keras(checkpoint: str, num_images: int, kind: str, batch: int) -> Callable[[], object]:
    import numpy as np
    import tensorflow as tf

    from job.synthesis.source import load_generator

    generator = load_generator(checkpoint).generator
    size = generator.inputs[0].shape[-1]
    latents = np.random.default_rng(0).standard_normal((num_images, size), np.float32)
    if kind == "predict":
        return lambda: generator.predict(latents, batch_size=batch, verbose=0)
    call = tf.function(lambda z: generator(z, training=False))
    return lambda: [
        call(latents[first : first + batch]).numpy() for first in range(0, num_images, batch)
    ]


def _onnx(path: str, num_images: int, batch: int) -> Callable[[], object]:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    entry = session.get_inputs()[0]
    latents = np.random.default_rng(0).standard_normal((num_images, entry.shape[1]), np.float32)
    return lambda: [
        session.run(None, {entry.name: latents[first : first + batch]})
        for first in range(0, num_images, batch)
    ]


if __name__ == "__main__":
    main()
