"""``dcgan-train generate``."""

import click

from job.cli.options import storage_options
from job.cli.output import say
from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.config.text import counted

MAX_INDEX = 2**48  # far below where the counter of the latents would wrap


@click.command()
@click.argument("checkpoint")
@click.option(
    "--num", "num_images", type=click.IntRange(1, MAX_INDEX), required=True, help="How many images."
)
@click.option(
    "--out",
    "destination",
    required=True,
    help="Where to: a folder URI for png and shards, a file or folder for npz and grid.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "npz", "shards", "grid"]),
    default="png",
    show_default=True,
    help="What to write.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Other seed, other images.",
)
@click.option(
    "--start",
    type=click.IntRange(0, MAX_INDEX),
    default=0,
    show_default=True,
    help="Index of the first image: parts can be made apart.",
)
@storage_options
def generate(
    checkpoint: str,
    num_images: int,
    destination: str,
    form: str,
    seed: int,
    start: int,
    storage: StorageSpec,
) -> None:
    """Make synthetic images with the generator of CHECKPOINT (or of a run folder: its newest).

    The same seed and index give the same image, however many are made at a time.
    """
    import os

    if not destination.strip() or not checkpoint.strip():
        raise ConfigError(
            "CHECKPOINT or --out is empty; expected a URI or a path (an unset shell variable?)"
        )
    from job.synthesis.writers import open_destination, write_images

    out = open_destination(form, destination, storage, num_images, start)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from job.telemetry.quiet import quiet_stderr

    with quiet_stderr():
        from job.synthesis.images import image_blocks
        from job.synthesis.source import load_generator

    with quiet_stderr():  # TensorFlow looks for GPUs now, and says so
        source = load_generator(checkpoint, storage)
    blocks = image_blocks(source.generator, seed, num_images, start)
    written = write_images(out, blocks, origin=f"{source.uri}#seed={seed}")
    say(f"{counted(num_images, 'image')} of {source.uri} (step {source.step}): {written}")
