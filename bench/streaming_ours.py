"""dcgan-train's part of ``bench/streaming.py``: one measurement, printed as one line of JSON.

    python bench/streaming_ours.py read DATA --seconds 5
    python bench/streaming_ours.py cold DATA CACHE
    python bench/streaming_ours.py boto3 DATA FOLDER --how get_object
    python bench/streaming_ours.py memory DATA CACHE
    python bench/streaming_ours.py train DATA CACHE --proxy

DATA is the URI of a packed data set. All read as training does: through ``Reader`` and ``Input``,
which is tf.data, in chunks of 20 batches of 64.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import job  # noqa: F401  before TensorFlow: no settings of ~/.keras

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

BATCH, STEPS = 64, 20
BLOCK = 4  # calls
THREADS = 16
GREY, COLOUR = "fashion", "dcgan64"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("read", "cold", "boto3", "memory", "train"))
    parser.add_argument("data")
    parser.add_argument("folder", nargs="?", help="the cache, or where plain boto3 downloads to")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument(
        "--batches",
        action="store_true",
        help="read: single batches out of tf.data, as other libraries give them",
    )
    parser.add_argument("--how", choices=("get_object", "download_file"), default="get_object")
    parser.add_argument("--budget", type=int, default=512 * 10**6, help="memory: data.cache_bytes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--proxy",
        help="train: address of a proxy whose rate is set to four times what training takes",
    )
    arguments = parser.parse_args()
    measure = {"read": read, "cold": cold, "boto3": boto3_plain, "memory": memory, "train": train}[
        arguments.what
    ]
    print(json.dumps(measure(arguments)), flush=True)


def images(
    data: str,
    cache: str | None,
    budget: int = 20 * 10**9,
    ahead: int = 500,
    listener: Any = None,
    start: int = 0,
    stop: int = 10**7,
) -> Any:
    """Return index, chunks through tf.data, and reader of all images of ``data`` for one worker."""
    from job.config.spec import DataSpec
    from job.data.index import read_index
    from job.data.order import Order, needs, worker_positions
    from job.storage.uri import open_store
    from job.streaming.reader import Reader
    from job.streaming.shards import open_shards

    store = open_store(data)
    index = read_index(store)
    order = Order(tuple(shard.num_rows for shard in index.shards), BATCH, 0)
    positions = worker_positions(order, 0, 1)
    spec = DataSpec(cache_dir=cache or "unused", cache_bytes=budget, fetch_ahead_batches=ahead)
    shards = open_shards(
        store,
        index,
        spec,
        needs(order, positions, start, stop),
        connections=THREADS,
        listener=listener,
    )
    reader = Reader(order, index, positions, shards, threads=os.cpu_count() or 1)
    return SimpleNamespace(
        store=store, index=index, chunks=as_input(index, order, reader, start), reader=reader
    )


def as_input(index: Any, order: Any, reader: Any, start: int = 0) -> Any:
    """Return the data set that ``job.training.worker`` iterates over."""
    from job.training.input import Input

    height, width, channels = index.image_shape
    spec = SimpleNamespace(model=SimpleNamespace(image_size=(height, width), channels=channels))
    schedule = SimpleNamespace(
        calls=lambda first: ((step, STEPS) for step in itertools.count(first, STEPS))
    )
    # type: ignore[arg-type]
    return Input(spec, SimpleNamespace(rank=0, world_size=1), reader, order, schedule, start)


def read(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure images/s out of tf.data, after an epoch that loaded and verified every shard."""
    reading = images(arguments.data, arguments.folder)
    given = as_batches(reading.chunks) if arguments.batches else reading.chunks
    each = BATCH if arguments.batches else BATCH * STEPS
    with reading.reader:
        endless = iter(given)
        for _ in range(reading.index.num_rows // each + 1):
            next(endless)
        number, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < arguments.seconds:
            next(endless)
            number += each
        endless.close()
    return {"images_per_second": number / seconds}


def as_batches(chunks: Any) -> Iterator[Any]:
    """Return single global batches ``[64, H, W, C]``, cut by tf.data."""
    import tensorflow as tf

    def cut(chunk: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(chunk)
        by_step = tf.transpose(chunk, [1, 0, *range(2, 6)])
        return tf.reshape(by_step, [shape[1], BATCH, *chunk.shape[3:]])

    yield from chunks.dataset.map(cut).unbatch().prefetch(STEPS)


def cold(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the seconds of one epoch from a store with an empty cache."""
    from job.streaming.events import NullListener

    class Counting(NullListener):
        bytes = 0

        def received(self, num_bytes: int) -> None:
            Counting.bytes += num_bytes

    import tensorflow as tf

    tf.constant(0)
    steps = _epoch_steps(arguments.data)
    reading = images(arguments.data, arguments.folder, ahead=10**6, listener=Counting(), stop=steps)
    # Making a client takes as long as fetching some megabytes; the other side has one before it
    # begins too.
    reading.store.stream("index.json", 0, 1, bytes)
    started = time.perf_counter()  # no shard was asked for yet
    with reading.reader:
        endless = iter(reading.chunks)
        for _ in range(steps // STEPS):
            next(endless)
        seconds = time.perf_counter() - started
        endless.close()
    size = reading.index.num_rows * reading.index.row_bytes
    return {
        "seconds": seconds,
        "megabytes_per_second": size / seconds / 1e6,
        "fetched_bytes": Counting.bytes,
    }


def _epoch_steps(data: str) -> int:
    from job.data.index import read_index
    from job.storage.uri import open_store

    return read_index(open_store(data)).num_rows // BATCH


def boto3_plain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the same bytes into files with boto3 and a pool of threads, nothing else."""
    import boto3
    from botocore.config import Config

    from job.data.index import read_index
    from job.storage.uri import open_store

    index = read_index(open_store(arguments.data))
    bucket, _, prefix = arguments.data.removeprefix("s3://").partition("/")
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=THREADS)
    client = boto3.session.Session().client("s3", config=config)
    folder = Path(arguments.folder)
    folder.mkdir(parents=True)

    def get(name: str) -> None:
        if arguments.how == "download_file":
            client.download_file(bucket, f"{prefix}/{name}", str(folder / name))
        else:
            (folder / name).write_bytes(
                client.get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
            )

    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(get, [shard.name for shard in index.shards]))
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "megabytes_per_second": index.num_rows * index.row_bytes / seconds / 1e6,
    }


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Sample resident memory and disk of a reader of one epoch, twenty times a second."""
    from job.streaming.cache_folder import CacheFolder

    cache = CacheFolder(Path(arguments.folder))
    reading = images(arguments.data, arguments.folder, budget=arguments.budget)
    index = reading.index
    import tensorflow as tf

    tf.constant(0)
    before = resident_bytes()
    samples: list[tuple[int, int]] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            with cache.locked():  # else the listing may show a file under its old and its new name
                samples.append((resident_bytes(), sum(file.num_bytes for file in cache.files())))

    watcher = threading.Thread(target=sample)
    started = time.perf_counter()
    watcher.start()
    number = 0
    with reading.reader:
        endless = iter(reading.chunks)
        for _ in range(index.num_rows // BATCH // STEPS):
            number += int(next(endless).shape[1]) * BATCH
        endless.close()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    grown, disk = (
        [resident - before for resident, _ in samples],
        [on_disk for _, on_disk in samples],
    )
    return {
        "data_megabytes": number * index.row_bytes / 1e6,
        "seconds": seconds,
        "megabytes_per_second": number * index.row_bytes / seconds / 1e6,
        "resident_before_megabytes": before / 1e6,
        "max_growth_megabytes": max(grown) / 1e6,
        "median_growth_megabytes": statistics.median(grown) / 1e6,
        "max_disk_megabytes": max(disk) / 1e6,
        "budget_megabytes": arguments.budget / 1e6,
        "samples": len(samples),
    }


def resident_bytes() -> int:
    """Return the resident memory of this process, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure images/s of training on one worker: memory, warm cache, cold at four times the rate.

    Memory and warm cache take turns of ``BLOCK`` calls, so that a machine whose speed drifts drifts
    for both; cold is an epoch from an empty cache.
    """
    import tensorflow as tf

    from job.config.load import load_run
    from job.data.index import read_index
    from job.data.order import Order
    from job.gan.networks import build_networks
    from job.storage.uri import open_store
    from job.training.multi_step import build_train_call
    from job.training.strategy import create_strategy

    index = read_index(open_store(arguments.data))
    overrides = [
        "uri=a",
        "data.uri=b",
        "workers.count=1",
        f"workers.cpus={os.cpu_count()}",
        f"training.global_batch_size={BATCH}",
    ]
    spec = load_run(GREY if index.image_shape[2] == 1 else COLOUR, overrides=overrides)
    strategy = create_strategy(spec)
    with strategy.scope():
        networks = build_networks(spec)
    call = build_train_call(spec, strategy, networks)
    order = Order(tuple(shard.num_rows for shard in index.shards), BATCH, 0)
    num_calls = order.steps_per_epoch // STEPS

    def block(chunks: Iterator[Any], first_call: int, num: int) -> dict[str, float]:
        begun = waiting = time.perf_counter()
        waits = []
        for number in range(first_call, first_call + num):
            (chunk,) = next(chunks)
            waits.append(time.perf_counter() - waiting)
            call(chunk, tf.constant(number * STEPS, tf.int64))[0].numpy()
            waiting = time.perf_counter()
        seconds = waiting - begun
        rate = num * STEPS * BATCH / seconds
        return {
            "images_per_second": rate,
            "wait_share": sum(waits) / seconds,
            "first_wait_seconds": waits[0],
        }

    def from_cold() -> dict[str, float]:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as cache:
            os.environ["AWS_ENDPOINT_URL"], kept = arguments.proxy, os.environ["AWS_ENDPOINT_URL"]
            reading = images(arguments.data, cache, stop=order.steps_per_epoch)
            with reading.reader:
                found = block(iter(reading.chunks), 0, num_calls)
            os.environ["AWS_ENDPOINT_URL"] = kept
        return found

    warm = f"{arguments.folder}/warm"
    in_memory = InMemory(arguments.data, arguments.folder)
    found: dict[str, list[dict[str, float]]] = {"memory": [], "warm": [], "cold": []}
    for number in range(arguments.rounds):
        memory = iter(as_input(index, order, in_memory))
        reading = images(arguments.data, warm, stop=order.steps_per_epoch)
        with reading.reader:
            cached = iter(reading.chunks)
            if number == 0:
                block(memory, 0, 1)  # tracing
                block(cached, 0, 1)
            for first in range(BLOCK, num_calls - BLOCK, BLOCK):
                found["memory"].append(block(memory, first, BLOCK))
                found["warm"].append(block(cached, first, BLOCK))
            memory.close()
            cached.close()
        limit(4 * found["memory"][-1]["images_per_second"] * index.row_bytes)
        found["cold"].append(from_cold())
    shutil.rmtree(warm)
    return {
        name: {key: [turn[key] for turn in turns] for key in turns[0]}
        for name, turns in found.items()
    }


def limit(bytes_per_second: float) -> None:
    """Ask the parent process, which owns the proxy, for this rate limit."""
    print(json.dumps({"limit": bytes_per_second}), flush=True)
    sys.stdin.readline()


class InMemory:
    """The data set as an array and its chunks in training order: the upper bound for a cache."""

    def __init__(self, data: str, folder: str) -> None:
        from job.data.index import read_index
        from job.storage.uri import open_store

        self._index = read_index(open_store(data))
        reading = images(data, f"{folder}/warm")
        num_chunks = self._index.num_rows // BATCH // STEPS
        with reading.reader:
            endless = iter(reading.chunks)
            self._chunks = [next(endless)[0].numpy() for _ in range(num_chunks)]
            endless.close()

    def chunk(self, first_step: int, num_steps: int) -> Any:
        return self._chunks[first_step // num_steps]


if __name__ == "__main__":
    main()
