"""``dcgan-train evaluate``: how good are generated images?"""

from typing import TYPE_CHECKING

import click

from job.cli.options import storage_options
from job.cli.output import say
from job.cli.quality import SEEDS
from job.cli.scores_text import evaluation_lines
from job.config.errors import ConfigError, StorageError
from job.quality import DEFAULT_NUM, MIN_NUM, Usefulness

if TYPE_CHECKING:
    from PIL import Image

    from job.config.storage import StorageSpec
    from job.storage.store import ObjectStore


@click.command()
@click.argument("images")
@click.option("--against", required=True, help="Packed real images: a folder or s3://.")
@click.option(
    "--features",
    default="classifier",
    show_default=True,
    help="classifier (of `quality fit`), classifier:DATA, inception, inception:URI of its weights,"
    " or file:URI of a Keras model.",
)
@click.option(
    "--num",
    "num_images",
    type=click.IntRange(MIN_NUM),
    help=f"Images of each kind. Default: {DEFAULT_NUM:,}, but at most half of the real ones.",
)
@click.option(
    "--seed",
    type=SEEDS,
    default=0,
    show_default=True,
    help="Seed of the generated images and of the resampling for the errors.",
)
@click.option(
    "--held-out",
    help="Packed real images that training did not see: are generated images nearer to those of"
    " --against than these are?",
)
@click.option(
    "--pairs", help="With --held-out: PNG of the 20 closest pairs by features, and by pixels."
)
@click.option(
    "--usefulness",
    is_flag=True,
    help="With --held-out: train classifiers on real and on generated images, test them on these.",
)
@click.option(
    "--per-class",
    type=click.IntRange(1),
    default=Usefulness().per_class,
    show_default=True,
    help="With --usefulness: real images of each class, when they are few.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=Usefulness().steps,
    show_default=True,
    help="With --usefulness: steps of each training, of 128 images.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=Usefulness().repeats,
    show_default=True,
    help="With --usefulness: trainings of each kind, with other seeds.",
)
@click.option(
    "--generated",
    "num_generated",
    type=click.IntRange(1),
    default=Usefulness().num_generated,
    show_default=True,
    help="With --usefulness: images that a generator makes, to train on.",
)
@click.option(
    "--best",
    "is_best",
    is_flag=True,
    help="Of a run folder, take the checkpoint with the best score instead of the newest.",
)
@click.option(
    "--record",
    is_flag=True,
    help="Of a run folder: keep the results and the closest pairs in it, for its report.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@storage_options
def evaluate(
    images: str,
    against: str,
    features: str,
    num_images: int | None,
    seed: int,
    held_out: str | None,
    pairs: str | None,
    usefulness: bool,
    per_class: int,
    steps: int,
    repeats: int,
    num_generated: int,
    is_best: bool,
    record: bool,
    as_json: bool,
    storage: "StorageSpec",
) -> None:
    """Score IMAGES against real images.

    IMAGES is a run folder (its newest checkpoint), a checkpoint, a generator.keras, packed images
    or any SOURCE of `data pack`. The second line scores other real images instead: no generator can
    be expected to be better.
    """
    from job.api import quality

    if held_out is None and (pairs or usefulness):
        raise ConfigError(
            "--held-out is not set; expected packed real images that training did not see, for"
            " --pairs and --usefulness"
        )
    run = _run_folder(images, storage) if record else None
    picture = b""
    if pairs:
        from job.synthesis.writers import open_file

        pairs_store, pairs_key = open_file(pairs, storage, "pairs.png", "--pairs")

    def on_pairs(found: "Image.Image") -> None:
        nonlocal picture
        from job.images.grids import png_bytes

        picture = png_bytes(found)
        if pairs:
            pairs_store.write(pairs_key, picture)

    result = quality.evaluate(
        images,
        against,
        features=features,
        num_images=num_images,
        seed=seed,
        held_out=held_out,
        usefulness=Usefulness(per_class, steps, repeats, num_generated) if usefulness else None,
        best=is_best,
        storage=storage,
        on_pairs=on_pairs,
        on_training=lambda recipe: say(f"training on {recipe}", err=True),
    )
    from job.quality.evaluation import to_json
    from job.run.layout import EVALUATION, PAIRS

    for line in [to_json(result)] if as_json else evaluation_lines(result):
        say(line)
    if run:
        if picture:
            run.write(PAIRS, picture)
        run.write(EVALUATION, to_json(result).encode())


def _run_folder(uri: str, storage: "StorageSpec") -> "ObjectStore":
    """Return the store of a run folder; ``ConfigError`` for anything else."""
    from job.run.layout import CONFIGURATION
    from job.storage.uri import open_store

    store, reason = open_store(uri, storage), ""
    try:
        if store.stat(CONFIGURATION):
            return store
    except StorageError as error:  # a file, for example
        reason = f" ({error})"
    raise ConfigError(f"--record: {uri} is not a run folder{reason}; expected one as IMAGES")
