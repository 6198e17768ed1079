"""``dcgan-train demo``: from images to a trained generator on one machine, in minutes."""

import json
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from job.cli.options import LocalPath
from job.cli.output import say
from job.config.errors import DataError
from job.config.text import counted
from job.telemetry.quiet import quiet_stderr

if TYPE_CHECKING:
    from job.data.index import Index

IMAGE_SIZE = "28x28"
DEMO_IMAGES = 20_000
DEMO_STEPS = 2000
BATCH = 32  # of the fashion preset
MAX_CLASSES = 32  # that have a row in the grid; with more the demo ignores them
FASHION_MNIST = "keras:fashion_mnist"
STAND_IN = f"synthetic:garments:{DEMO_IMAGES}"


@click.command()
@click.option(
    "--data",
    "source",
    help="Your own images: a folder, archive, IDX or .npz. Default: Fashion-MNIST, or drawn"
    " garments if it is not available.",
)
@click.option(
    "--folder",
    type=LocalPath(),
    default=".demo",
    show_default=True,
    help="Where packed images and runs go.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=DEMO_STEPS,
    show_default=True,
    help="Training steps.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port of the chief's metrics; 0: any free one.",
)
def demo(source: str | None, folder: Path, steps: int, port: int) -> None:
    """Pack images, train on two workers under a local Ray, and show where the results are.

    Started again it resumes, or prints where the results are.
    """
    from job.cli.train import train_run

    uri, index = _pack(source, folder / "data")
    if index.num_rows < BATCH:
        raise DataError(
            f"{source}: {counted(index.num_rows, 'image')}; the demo needs at least {BATCH},"
            " one batch: add more"
        )
    height, width, channels = index.image_shape
    is_conditional = has_few_classes(index)
    overrides = {
        "uri": f"{folder}/runs/{Path(uri).name}{'-classes' if is_conditional else ''}",
        "data.uri": uri,
        "model.image_size": [height, width],
        "model.channels": channels,
        "model.conditional": is_conditional,
        "training.steps": steps,
        "training.schedule.images": steps * BATCH,  # the whole schedule in the short run
        "samples.every_steps": max(1, steps // 12),
        "checkpoints.every_steps": max(1, steps // 4),
        "metrics.port": port,
    }
    from job.config.load import load_run

    spec = load_run(
        "fashion",
        overrides=[
            f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in overrides.items()
        ],
    )
    say(
        "demo: training two workers under a local Ray; Ctrl-C stops it, the same command resumes",
        err=True,
    )
    train_run(spec)


def _pack(source: str | None, folder: Path) -> tuple[str, "Index"]:
    """Pack ``source``, by default Fashion-MNIST; return the folder of the shards and their index.

    Drawn garments if Fashion-MNIST is neither on this machine nor can be downloaded.
    """
    if source is not None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).name).strip("-.") or "images"
        name += f"-{zlib.crc32(os.path.abspath(source).encode()):08x}"  # sources may share a name
        return _packed(source, folder / name)
    try:
        with quiet_stderr():
            return _packed(FASHION_MNIST, folder / "fashion-mnist")
    except DataError as error:
        say(f"demo: {error}", err=True)
        say("demo: training on garments drawn by the program instead", err=True)
        return _packed(STAND_IN, folder / "garments")


def has_few_classes(index: "Index") -> bool:
    """Return whether to train on the classes of the images, and say so."""
    from job.training.identity import MAX_CLASS_NAME

    names = [each.name for each in index.classes or ()]
    is_good = 2 <= len(names) <= MAX_CLASSES and max(map(len, names)) <= MAX_CLASS_NAME
    if not (index.is_labelled and is_good):
        return False
    say(f"demo: {len(names)} classes: the generator learns them, the grid has a row for each")
    return True


def _packed(source: str, destination: Path) -> tuple[str, "Index"]:
    from job.data.index import PackSettings
    from job.packing.pack import PackJob, pack

    say(f"demo: packing {source} into {destination}")
    settings = PackSettings(IMAGE_SIZE)
    index = pack(PackJob(source, str(destination), settings)).index
    say(f"demo: {counted(index.num_rows, 'image')}, {counted(len(index.shards), 'shard')}")
    return str(destination), index
