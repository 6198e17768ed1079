"""Pack a folder of JPEGs once for every line on standard input: the contenders of bench/pack.py.

    python -m bench.pack_contenders mosaicml:2 FOLDER 64 OUT    # of two processes, as 64x64

Imports ``job`` for our contenders only: the others run where only their libraries are installed.
They get the fastest way to decode, at a fraction of a JPEG's size, as `data pack` does. They write
in the order of the files, without hashes (their default); `data pack` shuffles, hashes and syncs.
"""

import functools
import hashlib
import json
import logging
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray  # uint8 [size, size, 3]
# Pack, and from its result the pixels that were written.
Run = tuple[Callable[[], Any], Callable[[Any], Iterable[Pixels]]]


def ours(source: Path, size: int, out: Path, parts: int) -> Run:
    from job.data.index import PackSettings
    from job.packing.pack import PackJob, pack

    job = PackJob(str(source), str(out), PackSettings(size=f"{size}x{size}"))
    return lambda: pack(job), functools.partial(_read_ours, out)


def command(source: Path, size: int, out: Path, parts: int) -> Run:
    arguments = [sys.executable, "-m", "job", "data", "pack", source, out, "--size", str(size)]
    run = functools.partial(subprocess.run, arguments, check=True, capture_output=True)
    return run, functools.partial(_read_ours, out)


def _read_ours(out: Path, result: object) -> Iterator[Pixels]:
    index = json.loads((out / "index.json").read_text())
    for shard in sorted(out.glob("shard-*.u8")):
        yield from np.fromfile(shard, np.uint8).reshape(-1, *index["image_shape"])


def mosaicml(source: Path, size: int, out: Path, parts: int) -> Run:
    """Write MDS shards of the default size, uncompressed."""
    from streaming import MDSWriter
    from streaming.base.format import reader_from_json
    from streaming.base.util import merge_index

    def write(part: int) -> None:
        folder = str(out if parts == 1 else out / str(part))
        with MDSWriter(out=folder, columns={"image": "bytes", "label": "int"}) as writer:
            for pixels, label in _samples(source, size, part, parts):
                writer.write({"image": pixels.tobytes(), "label": label})

    def run() -> None:
        _in_parts(write, parts)
        if parts > 1:
            merge_index(str(out), keep_local=True)

    def read(result: object) -> Iterator[Pixels]:
        for shard in json.loads((out / "index.json").read_text())["shards"]:
            reader = reader_from_json(str(out), None, shard)
            for number in range(shard["samples"]):
                yield np.frombuffer(reader[number]["image"], np.uint8)

    return run, read


def webdataset(extension: str, source: Path, size: int, out: Path, parts: int) -> Run:
    """Write tar shards of 1,000 images each."""
    from webdataset import ShardWriter, WebDataset

    def write(part: int) -> None:
        out.mkdir(exist_ok=True)
        pattern = str(out / f"{part}-%05d.tar")
        # Of a time with fractions, the default, tar makes two more blocks an image.
        with ShardWriter(pattern, maxcount=1000, verbose=0, mtime=0) as writer:
            for number, (pixels, label) in enumerate(_samples(source, size, part, parts)):
                writer.write({"__key__": f"{part}-{number:07d}", extension: pixels, "cls": label})

    def read(result: object) -> Iterator[Pixels]:
        for sample in WebDataset(sorted(map(str, out.iterdir())), shardshuffle=False).decode(
            "rgb8"
        ):
            yield sample[extension]

    return lambda: _in_parts(write, parts), read


def threads(source: Path, size: int, out: Path, parts: int) -> Run:
    paths = sorted(source.glob("*/*.jpg"))

    def run() -> list[list[Pixels]]:
        with ThreadPoolExecutor(parts) as pool:
            tasks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
            return list(pool.map(lambda task: [decode(path, size) for path in task], tasks))

    return run, lambda tasks: (pixels for task in tasks for pixels in task)


def processes(source: Path, size: int, out: Path, parts: int) -> Run:
    def run(part: int) -> None:
        for _ in _samples(source, size, part, parts):
            pass

    return (
        lambda: _in_parts(run, parts),
        lambda _: (pixels for pixels, _ in _samples(source, size, 0, 1)),
    )


CONTENDERS: dict[str, Callable[[Path, int, Path, int], Run]] = {
    "ours": ours,
    "command": command,
    "mosaicml": mosaicml,
    "npy": functools.partial(webdataset, "npy"),
    "png": functools.partial(webdataset, "png"),
    "threads": threads,
    "processes": processes,
}


def _samples(source: Path, size: int, part: int, parts: int) -> Iterator[tuple[Pixels, int]]:
    """Yield pixels and class of every image, or of one part of them."""
    paths = sorted(source.glob("*/*.jpg"))
    names = sorted({path.parent.name for path in paths})
    classes = {name: number for number, name in enumerate(names)}
    for path in paths[part * len(paths) // parts : (part + 1) * len(paths) // parts]:
        yield decode(path, size), classes[path.parent.name]


def decode(path: Path, size: int) -> Pixels:
    with Image.open(path) as image:
        image.draft("RGB", (2 * size, 2 * size))
        flat = image if image.mode == "RGB" else image.convert("RGB")
        if flat.size != (size, size):
            flat = flat.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return np.asarray(flat)


def _in_parts(run: Callable[[int], None], parts: int) -> None:
    """Run each part in a process, a single one in this."""
    if parts == 1:
        return run(0)
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=run, args=(part,)) for part in range(parts)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a process of the contender ended with {worker.exitcode}")
    return None


def _busy_seconds() -> float:
    """Return the processor's time of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    logging.disable(logging.WARNING)  # of MosaicML, about its folder
    name, source, size, out = sys.argv[1:]
    kind, _, parts = name.partition(":")
    run, read = CONTENDERS[kind](Path(source), int(size), Path(out), int(parts or 1))
    for line in sys.stdin:
        shutil.rmtree(out, ignore_errors=True)
        begun, busy = time.perf_counter(), _busy_seconds()
        result = run()
        seconds, busy = time.perf_counter() - begun, _busy_seconds() - busy
        if line == "go\n":
            print("result", seconds, busy, flush=True)
        else:
            images = sorted(np.ascontiguousarray(pixels).tobytes() for pixels in read(result))
            print("result", len(images), hashlib.sha256(b"".join(images)).hexdigest(), flush=True)
    os._exit(0)  # threads of the libraries would keep the process


if __name__ == "__main__":
    main()
