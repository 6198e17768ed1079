"""``dcgan-train quality``: train the features of scores, and compare scores."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from job.cli.options import LocalPath, storage_options
from job.cli.output import say
from job.cli.scores_text import score_lines
from job.config.errors import ConfigError
from job.config.text import counted

if TYPE_CHECKING:
    from job.config.storage import StorageSpec

SEEDS = click.IntRange(0, 2**31 - 1)


@click.group()
def quality() -> None:
    """Train the features that scores compare, and compare scores."""


@quality.command()
@click.argument("data")
@click.option(
    "--epochs",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Passes over the images.",
)
@click.option(
    "--seed", type=SEEDS, default=0, show_default=True, help="Seed of the weights and the order."
)
@storage_options
def fit(data: str, epochs: int, seed: int, storage: "StorageSpec") -> None:
    """Train the small classifier whose features `evaluate` compares, on the packed images DATA.

    It learns the classes or, without classes, by how far an image was turned. The result is written
    to DATA/quality. The same images, options and seed give the same features.
    """
    from job.api.data import fit_features, open_packed
    from job.quality.keys import CLASSIFIER_NETWORK

    def on_epoch(epoch: int, accuracy: float) -> None:
        say(f"epoch {epoch}/{epochs}: accuracy {accuracy:.3f} on held-out images", err=True)

    folder = open_packed(data, storage=storage).store.uri.rstrip("/")
    saved = fit_features(data, epochs=epochs, seed=seed, on_epoch=on_epoch, storage=storage)
    say(
        f"{folder}/{CLASSIFIER_NETWORK}: learned {saved.task} of"
        f" {counted(saved.num_images, 'image')}, accuracy {saved.accuracy:.3f} on held-out ones,"
        f" fingerprint {saved.fingerprint[:16]}"
    )


@quality.command()
@click.argument("files", nargs=-1, required=True, type=LocalPath(dir_okay=False))
def compare(files: tuple[Path, ...]) -> None:
    """Print the scores of several `evaluate --json`, the smallest Frechet distance first.

    Scores of other features, other real images or other numbers of images are rejected.
    """
    from job.quality.evaluation import MAX_BYTES, parse_evaluation
    from job.quality.scores import check_comparable

    found = {}
    for path in files:
        try:
            with open(path, "rb") as file:
                found[str(path)] = parse_evaluation(file.read(MAX_BYTES + 1), str(path))
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read ({error.strerror}); expected a file of `evaluate --json`"
            ) from None
    if len(found) < 2:
        raise ConfigError(f"FILES are {len(found)} different file; expected at least 2 to compare")
    first, *others = found.items()
    for name, evaluation in others:
        check_comparable((first[0], first[1].basis), (name, evaluation.basis))
    ordered = sorted(found.items(), key=lambda item: item[1].generated.frechet_distance)
    rows = {name: evaluation.generated for name, evaluation in ordered}
    for line in score_lines({**rows, "real against real": first[1].floor}, first[1].basis):
        say(line)
