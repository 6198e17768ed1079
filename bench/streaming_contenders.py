"""Images/s of other libraries from local files: MosaicML Streaming, WebDataset, TFRecord.

    python3 -m venv contenders && contenders/bin/pip install -r bench/streaming-requirements.txt
    contenders/bin/python bench/streaming_contenders.py prepare --images mnist.npy --out DIR
    contenders/bin/python bench/streaming_contenders.py read webdataset --data DIR --shape 28,28,1

Must not import ``job``: it runs where only the contenders are installed. All of them store raw
pixels, so none has to decode, and read them in an endless shuffled order, in batches, uint8 ``[B,
H, W, C]``, with the page cache warm. ``tensor-slices`` is the tutorial's code, all images in
memory. Each default below is the fastest found, or within its noise (±20 %); ``--set workers=1``
and so on select the others.

Images/s of 28x28x1 and of 64x64x3 on two cores (Xeon, 2.8 GHz), Python 3.11, 2026-11-24; median of
three undisturbed runs of 6 s; ~ is one run of 3 to 8 s, some with other work on the machine:

    mosaicml        24,000   17,700   2 workers 24,000 15,700; 1 ~15,500 ~13,800; 0 19,500 17,700;
                                      predownload=512, its default, ~13,700 ~9,000;
                                      collate=torch ~14,500 ~15,500;
                                      mosaicml-ndarray ~20,000 ~12,700
    webdataset      22,500   15,100   2 workers 22,500 14,000; 1 ~12,600 ~9,500; 0 16,000 15,100;
                                      two with collate=torch ~22,600 ~15,700;
                                      two with resampled=false ~24,200 ~15,000
    tfrecord       185,400   84,200   the other interleave ~187,700 ~70,700;
                                      steps=1 ~157,300 ~76,600;
                                      decode=record ~25,800 ~18,900;
                                      tfrecord-example ~219,500 ~46,400, and decode=record ~19,200
    tensor-slices  267,500  204,100   dtype=float32 ~191,400
"""

import argparse
import functools
import importlib.metadata
import inspect
import json
import math
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# of WebDataset and TFRecord: enough to shuffle and to share among workers; MDS cuts by size and
# shuffles across all anyway
NUM_SHARDS = 16


def write_mosaicml(images: np.ndarray, folder: Path, ndarray: bool = False) -> None:
    """Write MDS shards of one column, of the default 64 MiB, without hashes (the default)."""
    from streaming import MDSWriter

    encoding = f"ndarray:uint8:{','.join(map(str, images.shape[1:]))}" if ndarray else "bytes"
    with MDSWriter(out=str(folder), columns={"image": encoding}) as writer:
        for image in images:
            writer.write({"image": np.array(image) if ndarray else image.tobytes()})


def write_webdataset(images: np.ndarray, folder: Path) -> None:
    """Write tar shards, one member per image."""
    from webdataset import TarWriter

    for number, indices in enumerate(np.array_split(np.arange(len(images)), NUM_SHARDS)):
        # Of a time with fractions, the default, tar makes two more blocks an image; reading 64x64x3
        # is a third slower with them.
        with TarWriter(str(folder / f"{number:04d}.tar"), mtime=0) as writer:
            for index in indices:
                writer.write({"__key__": f"{index:08d}", "bin": images[index].tobytes()})


def write_tfrecord(images: np.ndarray, folder: Path, example: bool = False) -> None:
    """Write TFRecord files; a record is the pixels, or a ``tf.train.Example`` with them."""
    import tensorflow as tf

    for number, indices in enumerate(np.array_split(np.arange(len(images)), NUM_SHARDS)):
        with tf.io.TFRecordWriter(str(folder / f"{number:04d}.tfrecord")) as writer:
            for index in indices:
                record = images[index].tobytes()
                if example:
                    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[record]))
                    record = tf.train.Example(
                        features=tf.train.Features(feature={"image": value})
                    ).SerializeToString()
                writer.write(record)


def write_tensor_slices(images: np.ndarray, folder: Path) -> None:
    """Write the array."""
    np.save(folder / "images.npy", images)


def read_mosaicml(
    folder: Path,
    shape: tuple[int, ...],
    batch: int,
    workers: int = -1,
    predownload: int = 0,
    collate: str = "numpy",
) -> Iterator[Any]:
    """Read with the default shuffle (py1e), over all images.

    ``predownload`` 0 is the length of the epoch. With the default of 8 batches, two threads of each
    worker wake every 7 ms, ask for every sample whether its shard is there, and take the
    interpreter from the thread that reads; so they are done soon after the start of an epoch.
    """
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()  # what a killed reader left behind makes the next one fail
    shards = json.loads((folder / "index.json").read_text())["shards"]
    dataset = StreamingDataset(
        local=str(folder),
        shuffle=True,
        batch_size=batch,
        predownload=predownload or sum(shard["samples"] for shard in shards),
    )
    loader = _loader(
        dataset,
        workers,
        shape,
        batch_size=batch,
        collate_fn=functools.partial(_join, key="image", shape=shape, collate=collate),
    )
    while True:
        yield from loader


def read_webdataset(
    folder: Path,
    shape: tuple[int, ...],
    batch: int,
    workers: int = -1,
    shuffle: int = 5000,
    resampled: bool = True,
    collate: str = "numpy",
) -> Iterator[Any]:
    """Read random shards (``resampled``; else shuffled every epoch) and a shuffle buffer."""
    import webdataset as wds

    urls = sorted(str(path) for path in folder.glob("*.tar"))
    dataset = (
        wds.WebDataset(urls, resampled=True)
        if resampled
        else wds.WebDataset(urls, shardshuffle=len(urls))
    )
    dataset = dataset.shuffle(shuffle, initial=shuffle)
    dataset = dataset.batched(
        batch, collation_fn=functools.partial(_join, key="bin", shape=shape, collate=collate)
    )
    # Else a worker makes tensors of the arrays.
    loader = _loader(dataset, workers, shape, batch_size=None, collate_fn=lambda batch: batch)
    while True:
        yield from loader


def read_tfrecord(
    folder: Path,
    shape: tuple[int, ...],
    batch: int,
    steps: int = 20,
    interleave: str = "auto",
    block: int = 64,
    decode: str = "batch",
    example: bool = False,
) -> Iterator[Any]:
    """Read shuffled, interleaved files: 10,000 records of buffer, one ``decode_raw`` per batch.

    Chunks ``[steps, B, H, W, C]``, as our own reader gives them to a loop of several steps a call:
    each element that tf.data hands to Python costs more than its 64 small images. ``interleave`` is
    serial, parallel (AUTOTUNE) or auto: one thread reads images of 784 bytes faster, several those
    of 12 kB.
    """
    import tensorflow as tf

    def pixels(records: tf.Tensor) -> tf.Tensor:
        if example:
            parse = tf.io.parse_example if decode == "batch" else tf.io.parse_single_example
            records = parse(records, {"image": tf.io.FixedLenFeature([], tf.string)})["image"]
        return tf.reshape(
            tf.io.decode_raw(records, tf.uint8),
            [steps, batch, *shape] if decode == "batch" else shape,
        )

    files = sorted(str(path) for path in folder.glob("*.tfrecord"))
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": False}
    records = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files))
    records = records.interleave(
        tf.data.TFRecordDataset,
        cycle_length=len(files),
        block_length=block,
        **(
            parallel
            if interleave == "parallel" or (interleave == "auto" and math.prod(shape) >= 4096)
            else {}
        ),
    )
    records = records.shuffle(10_000).repeat()
    if decode == "batch":
        chunks = records.batch(steps * batch, drop_remainder=True).map(pixels, **parallel)
    else:
        chunks = records.map(pixels, **parallel).batch(batch, drop_remainder=True).batch(steps)
    yield from chunks.prefetch(tf.data.AUTOTUNE)


def read_tensor_slices(
    folder: Path, shape: tuple[int, ...], batch: int, dtype: str = "uint8", repeat: bool = True
) -> Iterator[Any]:
    """Read ``from_tensor_slices(images).shuffle(len(images)).batch(batch)``, as the tutorial.

    The tutorial has float32 in memory, four times the bytes.
    """
    import tensorflow as tf

    images = np.load(folder / "images.npy")
    assert images.shape[1:] == shape
    if dtype == "float32":
        images = (images.astype(np.float32) - 127.5) / 127.5
    batches = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images))
    batches = batches.repeat() if repeat else batches
    batches = batches.batch(batch).prefetch(tf.data.AUTOTUNE)
    while True:
        yield from batches


def _loader(dataset: Any, workers: int, shape: tuple[int, ...], **options: Any) -> Any:
    """Return a DataLoader; ``workers`` -1 is two, but none for images from 4 KiB on.

    Passing those between processes costs more than two workers gain.
    """
    from torch.utils.data import DataLoader

    if workers < 0:
        workers = 0 if math.prod(shape) >= 4096 else 2
    return DataLoader(dataset, num_workers=workers, persistent_workers=workers > 0, **options)


def _join(samples: list[dict[str, Any]], key: str, shape: tuple[int, ...], collate: str) -> Any:
    """Return a batch ``[B, H, W, C]`` in one copy; default collation converts each image.

    Between processes, a NumPy array goes through a pipe and a tensor (``collate="torch"``) through
    shared memory; at these sizes the pipe is faster.
    """
    values = [sample[key] for sample in samples]
    if isinstance(values[0], np.ndarray):
        return np.stack(values)
    if collate == "numpy":
        return np.frombuffer(b"".join(values), np.uint8).reshape(-1, *shape)
    import torch

    return torch.frombuffer(bytearray().join(values), dtype=torch.uint8).reshape(-1, *shape)


LIBRARIES = {
    "mosaicml": (write_mosaicml, read_mosaicml, "mosaicml-streaming"),
    "webdataset": (write_webdataset, read_webdataset, "webdataset"),
    "tfrecord": (write_tfrecord, read_tfrecord, "tensorflow"),
    "tensor-slices": (write_tensor_slices, read_tensor_slices, "tensorflow"),
    # Other ways to store the same, which only `prepare --variants` writes.
    "mosaicml-ndarray": (
        functools.partial(write_mosaicml, ndarray=True),
        read_mosaicml,
        "mosaicml-streaming",
    ),
    "tfrecord-example": (
        functools.partial(write_tfrecord, example=True),
        functools.partial(read_tfrecord, example=True),
        "tensorflow",
    ),
}


def prepare(images: np.ndarray, out: Path, names: list[str]) -> None:
    """Write ``images`` uint8 ``[N, H, W, C]`` for each library; name a folder once complete."""
    for name in names:
        if (out / name).exists():
            continue
        partial = out / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        LIBRARIES[name][0](images, partial)
        partial.rename(out / name)


def measure(batches: Iterator[Any], seconds: float) -> tuple[int, float]:
    """Return the images of ``seconds`` and the exact time, after 2 s and 20 batches of warm-up."""
    started, num_batches = time.perf_counter(), 0
    while num_batches < 20 or time.perf_counter() - started < 2:
        next(batches)
        num_batches += 1
    started, num_images, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        num_images += math.prod(next(batches).shape[:-3])
        elapsed = time.perf_counter() - started
    return num_images, elapsed


def read(
    name: str, data: Path, batch: int, seconds: float, shape: tuple[int, ...], overrides: list[str]
) -> dict[str, Any]:
    """Measure one library on ``data / name``; return the result with its settings."""
    _, reader, distribution = LIBRARIES[name]
    settings = {
        key: field.default
        for key, field in inspect.signature(reader).parameters.items()
        if field.default is not field.empty
    }
    for override in overrides:
        key, _, value = override.partition("=")
        settings[key] = (
            value == "true" if isinstance(settings[key], bool) else type(settings[key])(value)
        )
    for path in (data / name).iterdir():
        path.read_bytes()  # into the page cache
    batches = reader(data / name, shape, batch, **settings)
    num_images, elapsed = measure(batches, seconds)
    return {
        "library": name,
        "images_per_second": round(num_images / elapsed),
        "images": num_images,
        "seconds": round(elapsed, 3),
        "settings": f"{distribution} {importlib.metadata.version(distribution)}, "
        + " ".join(f"{key}={value}" for key, value in settings.items()),
    }


def main() -> None:
    del sys.path[0]  # this folder, where `streaming` is ours and would hide MosaicML's
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="write an array in the form of each library")
    command.add_argument("--images", type=Path, required=True, help=".npy, uint8 [N, H, W, C]")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument(
        "--variants", action="store_true", help="also the encodings that were not faster"
    )
    command = commands.add_parser("read", help="measure one library")
    command.add_argument("library", choices=LIBRARIES)
    command.add_argument("--data", type=Path, required=True, help="the --out of prepare")
    command.add_argument("--batch", type=int, default=64)
    command.add_argument("--seconds", type=float, default=20)
    command.add_argument(
        "--shape",
        type=lambda text: tuple(int(size) for size in text.split(",")),
        required=True,
        metavar="H,W,C",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="another setting than the default",
    )
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare(
            np.load(arguments.images, mmap_mode="r"),
            arguments.out,
            list(LIBRARIES)[: None if arguments.variants else 4],
        )
        return
    result = read(
        arguments.library,
        arguments.data,
        arguments.batch,
        arguments.seconds,
        arguments.shape,
        arguments.overrides,
    )
    print(json.dumps(result), flush=True)
    for worker in multiprocessing.active_children():
        worker.kill()  # else they keep our standard output open, and who reads it waits
    # Threads of StreamingDataset in this process wait for samples to be taken, and would keep it.
    os._exit(0)


if __name__ == "__main__":
    main()
