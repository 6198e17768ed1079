"""The results of an evaluation as tables of text, the header first: for terminal and report."""

from collections.abc import Mapping, Sequence

from job.quality.evaluation import NearTraining, Training
from job.quality.scores import Basis, Scores

Table = list[tuple[str, ...]]

SCORES = ("Frechet distance (95 %)", "KID", "precision", "recall", "density", "coverage")
NEAR = ("nearest training image", "generated", "held-out", "nearer", "nearer than 99 %")
NEAR_HELP = (
    "Medians of distances, and the share of generated images that are nearer to a training image"
    " than held-out ones are: about 50 % and 1 % without copies, more with them."
)
USEFULNESS = ("a classifier trained on", "accuracy", "of all seeds")


def score_table(rows: Mapping[str, Scores]) -> Table:
    """Return a row of scores for each name."""
    return [("", *SCORES), *((name, *_cells(scores)) for name, scores in rows.items())]


def basis_text(basis: Basis) -> str:
    """Return what the scores are comparable by."""
    return (
        f"{basis.num_generated:,} images against {basis.num_real:,} real ones; features"
        f" {basis.features} {basis.features_fingerprint[:16]}"
    )


def near_table(near: NearTraining) -> Table:
    """Return the distances to the nearest training image (``NEAR_HELP``)."""
    spaces = (("by features", near.features), ("by pixels", near.pixels))
    rows = (
        (
            name,
            f"{found.median_generated:.3f}",
            f"{found.median_held_out:.3f}",
            f"{found.share_nearer:.1%}",
            f"{found.share_rare:.1%}",
        )
        for name, found in spaces
    )
    return [NEAR, *rows]


def usefulness_table(trainings: Sequence[Training]) -> Table:
    """Return the accuracies on held-out real images: mean, lowest and highest."""
    rows = (
        (
            each.recipe,
            f"{sum(each.accuracies) / len(each.accuracies):.2%}",
            f"{min(each.accuracies):.2%} to {max(each.accuracies):.2%}",
        )
        for each in trainings
    )
    return [USEFULNESS, *rows]


def _cells(scores: Scores) -> tuple[str, ...]:
    low, high = scores.frechet_interval
    return (
        f"{scores.frechet_distance:.3f} ({low:.3f} to {high:.3f})",
        f"{scores.kernel_distance:.5f} +- {scores.kernel_error:.5f}",
        f"{scores.precision:.3f}",
        f"{scores.recall:.3f}",
        f"{scores.density:.3f}",
        f"{scores.coverage:.3f}",
    )
