"""Measure reading images against MosaicML Streaming, WebDataset, TFRecord and plain boto3.

    python -m bench.streaming --grey MNIST_FOLDER --colour CIFAR_TAR    # an hour on two cores
    python -m bench.streaming --grey MNIST_FOLDER --only reader --rounds 3

`--grey` and `--colour` are sources of `data pack`; the colour one is resized to 64x64. Each
measurement runs in a new process. In each round the contenders take turns, so that a change of the
machine's speed affects all; the tables have medians. The other libraries are installed once in a
separate environment from streaming-requirements.txt. S3 is the tests' server (`make tools`).

    reader      images/s out of tf.data or a DataLoader, shuffled, batches of 64, local disk
    cold        one epoch from S3 into an empty cache, and a plain download of the same bytes
    training    images/s of training from memory, a warm cache, and a cold one at 4 times that rate
    memory      resident memory and disk while 4 GB pass a cache of 512 MB
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from job.data.index import Index, PackSettings, read_index
from job.packing.pack import PackJob, pack
from job.storage.uri import open_store
from tests.servers.fault_proxy import fault_proxy
from tests.servers.s3 import s3_server

ROOT = Path(__file__).parents[1]
OURS = ROOT / "bench" / "streaming_ours.py"
CONTENDERS = ROOT / "bench" / "streaming_contenders.py"
# Each with the fastest settings found (see streaming_contenders.py), and the two that gain most by
# them with their defaults.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "MosaicML Streaming, tuned": ("mosaicml",),
    "MosaicML Streaming, default settings": ("mosaicml", "predownload=512", "collate=torch"),
    "WebDataset, tuned": ("webdataset",),
    "TFRecord in tf.data, tuned: decoded 20 batches at a time": ("tfrecord",),
    "TFRecord in tf.data, decoded record by record": ("tfrecord", "decode=record"),
    "tf.data from_tensor_slices, all in memory (the tutorial)": ("tensor-slices",),
}
LARGE_IMAGES = 326_000  # of 64x64x3: 4.0 GB

Run = Callable[[], dict[str, Any]]  # one measurement


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grey", help="source of 28x28 grey images")
    parser.add_argument("--colour", help="source of colour images, resized to 64x64")
    parser.add_argument(
        "--only", choices=tuple(SECTIONS), action="append", help="one section; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of each measurement of a reader"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / ".bench",
        help="folder for data sets, caches and the other libraries (up to 20 GB)",
    )
    parser.add_argument(
        "--libraries",
        type=Path,
        help="an environment that has the other libraries; default: made in --work",
    )
    arguments = parser.parse_args()
    sources = {"28x28x1": (arguments.grey, None), "64x64x3": (arguments.colour, "64x64")}
    sets = {
        name: packed(source, arguments.work / name, size)
        for name, (source, size) in sources.items()
        if source
    }
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores,"
        f" {datetime.date.today()}: {' '.join(sys.argv)}"
    )
    for section in arguments.only or SECTIONS:
        SECTIONS[section](arguments, sets)


def packed(source: str, folder: Path, size: str | None) -> Path:
    """The data set at ``folder``, packed from ``source`` unless it is there."""
    settings = PackSettings(size=size, channels=3 if size else 1)
    pack(PackJob(source, str(folder), settings))
    return folder


def reader(arguments: argparse.Namespace, sets: dict[str, Path]) -> None:
    libraries = libraries_python(arguments)
    for name, folder in sets.items():
        index = read_index(open_store(str(folder)))
        others = arguments.work / f"{name}-others"
        prepare(libraries, index, folder, others)
        with on_s3(folder) as (uri, env, _):
            measured = partial(ours, "read", seconds=arguments.seconds)
            runs: dict[str, Run] = {
                "dcgan-train, local folder, a call's 20 batches at a time": partial(
                    measured, folder
                ),
                "dcgan-train, S3 with a warm cache, the same": partial(
                    measured, uri, arguments.work / "cache", env
                ),
                "dcgan-train, local folder, single batches": partial(
                    measured, folder, None, None, "--batches"
                ),
                **{
                    title: partial(contender, libraries, how, others, index, arguments.seconds)
                    for title, how in LIBRARIES.items()
                },
            }
            found = in_turns(runs, arguments.rounds)
            shutil.rmtree(arguments.work / "cache")
        first = statistics.median(run["images_per_second"] for run in next(iter(found.values())))
        print(f"\n### Reader, {index.num_rows:,} images {name}, shuffled, batches of 64\n")
        print(
            "| reader | images/s | min | max | speedup of dcgan-train |\n"
            "| --- | --- | --- | --- | --- |"
        )
        for run_name, results in found.items():
            rates = [result["images_per_second"] for result in results]
            median = statistics.median(rates)
            print(
                f"| {run_name} | {median:,.0f} | {min(rates):,.0f} | {max(rates):,.0f}"
                f" | {first / median:,.1f} |"
            )


def cold(arguments: argparse.Namespace, sets: dict[str, Path]) -> None:
    empty = arguments.work / "empty"
    for name, folder in sets.items():
        with on_s3(folder) as (uri, env, _):
            runs: dict[str, Run] = {
                "boto3, get_object on 16 threads": partial(
                    fresh, empty, partial(ours, "boto3", uri, empty, env)
                ),
                "boto3, download_file on 16 threads": partial(
                    fresh, empty, partial(ours, "boto3", uri, empty, env, "--how", "download_file")
                ),
                "dcgan-train: an epoch through tf.data, verified": partial(
                    fresh, empty, partial(ours, "cold", uri, empty, env)
                ),
            }
            found = in_turns(runs, arguments.rounds)
        first = statistics.median(run["seconds"] for run in next(iter(found.values())))
        print(
            f"\n### Cold, {name}, from S3 on this machine\n\n"
            "| what | seconds | MB/s | speed, boto3's get_object is 1 |\n| --- | --- | --- | --- |"
        )
        for run_name, results in found.items():
            seconds = statistics.median(run["seconds"] for run in results)
            rate = statistics.median(run["megabytes_per_second"] for run in results)
            print(f"| {run_name} | {seconds:.2f} | {rate:,.0f} | {first / seconds:.2f} |")


def training(arguments: argparse.Namespace, sets: dict[str, Path]) -> None:
    folder = next(iter(sets.values()))
    with on_s3(folder) as (uri, env, url), fault_proxy(url) as proxy:
        caches = arguments.work / "caches"
        caches.mkdir(parents=True)
        command = [
            sys.executable,
            OURS,
            "train",
            uri,
            caches,
            "--rounds",
            str(arguments.rounds),
            "--proxy",
            proxy.endpoint_url,
        ]
        with subprocess.Popen(
            map(str, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                result = json.loads(line)
                if "limit" in result:
                    proxy.limit_bytes_per_second = result["limit"]
                    process.stdin.write("set\n")
                    process.stdin.flush()
        shutil.rmtree(caches)
    print(
        f"\n### Training, one worker, {folder.name}: memory and warm cache in turns of a few calls,"
        " cold an epoch\n"
    )
    print(
        "| images from | turns | images/s | of memory's | waiting for images"
        " | before the first step, s |\n| --- | --- | --- | --- | --- | --- |"
    )
    at_most = statistics.median(result["memory"]["images_per_second"])
    for name, title in (
        ("memory", "memory"),
        ("warm", "S3, warm cache"),
        ("cold", "S3, cold, at 4 times the rate"),
    ):
        rates, waits, first = (
            result[name][key] for key in ("images_per_second", "wait_share", "first_wait_seconds")
        )
        beside = result["memory"]["images_per_second"] if name == "warm" else [at_most] * len(rates)
        ratio = statistics.median(rate / other for rate, other in zip(rates, beside, strict=True))
        row = (
            title,
            len(rates),
            f"{statistics.median(rates):,.0f}",
            f"{ratio:.3f}",
            f"{statistics.median(waits):.2%}",
        )
        print(f"| {' | '.join(map(str, row))} | {statistics.median(first):.2f} |")


def memory(arguments: argparse.Namespace, sets: dict[str, Path]) -> None:
    folder = arguments.work / "4GB"
    source = arguments.work / "4GB.npy"
    if not (folder / "index.json").exists():
        pixels = np.lib.format.open_memmap(source, "w+", np.uint8, (LARGE_IMAGES, 64, 64, 3))
        for start in range(0, LARGE_IMAGES, 1000):
            pixels[start : start + 1000] = np.random.default_rng(start).integers(
                0, 256, pixels[start : start + 1000].shape, np.uint8
            )
        del pixels
        pack(PackJob(str(source), str(folder), PackSettings(), tmp=arguments.work))
        source.unlink()
    empty = arguments.work / "empty"
    with on_s3(folder) as (uri, env, _):
        result = fresh(empty, partial(ours, "memory", uri, empty, env))
    print(
        "\n### Memory and disk of one reader of everything, sampled twenty times a second\n\n"
        "| what | figure |\n| --- | --- |"
    )
    for name, value in result.items():
        print(f"| {name.replace('_', ' ')} | {value:,.1f} |")


SECTIONS: dict[str, Callable[[argparse.Namespace, dict[str, Path]], None]] = {
    "reader": reader,
    "cold": cold,
    "training": training,
    "memory": memory,
}


def in_turns(runs: dict[str, Run], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Every run once in each round."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
            print(f"round {number + 1}, {name}: {found[name][-1]}", file=sys.stderr)
    return found


def fresh(folder: Path, run: Run) -> dict[str, Any]:
    """With ``folder`` absent before and after."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ours(
    what: str,
    data: object,
    folder: Path | None = None,
    env: dict[str, str] | None = None,
    *options: str,
    seconds: float = 5.0,
) -> dict[str, Any]:
    command = [
        sys.executable,
        OURS,
        what,
        data,
        *([folder] if folder else []),
        "--seconds",
        seconds,
        *options,
    ]
    return last_line(command, env)


def contender(
    python: Path, how: tuple[str, ...], folder: Path, index: Index, seconds: float
) -> dict[str, Any]:
    library, *settings = how
    command = [
        python,
        CONTENDERS,
        "read",
        library,
        "--data",
        folder,
        "--batch",
        64,
        "--seconds",
        seconds,
    ]
    options = [part for setting in settings for part in ("--set", setting)]
    return last_line([*command, "--shape", ",".join(map(str, index.image_shape)), *options])


def prepare(python: Path, index: Index, folder: Path, others: Path) -> None:
    """The same pixels in the other libraries' formats."""
    array = others / "images.npy"
    if not array.exists():
        others.mkdir(parents=True, exist_ok=True)
        rows = [
            np.fromfile(folder / shard.name, np.uint8).reshape(-1, *index.image_shape)
            for shard in index.shards
        ]
        np.save(array, np.concatenate(rows))
    subprocess.run([python, CONTENDERS, "prepare", "--images", array, "--out", others], check=True)


def libraries_python(arguments: argparse.Namespace, topic: str = "streaming") -> Path:
    """The Python of the environment that has the other libraries of ``topic``."""
    folder = arguments.libraries or arguments.work / f"{topic}-libraries"
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        requirements = CONTENDERS.with_name(f"{topic}-requirements.txt")
        subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements],
            check=True,
        )
    return Path(folder / "bin" / "python")


@contextmanager
def on_s3(folder: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Serve the data set on a new S3 server; yield its URI, environment and address."""
    with s3_server() as server:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        env = kept | server.env()
        bucket = server.new_bucket()
        os.environ.update(server.env())
        store, source = open_store(f"s3://{bucket}/set"), open_store(str(folder))
        for entry in source.list():
            store.upload(folder / entry.key, entry.key)
        yield f"s3://{bucket}/set", env, server.endpoint_url


def last_line(command: list[Any], env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the last line that a measurement printed."""
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(
            f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-3000:]}"
        )
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
