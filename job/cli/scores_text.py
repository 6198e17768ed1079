"""The results of `evaluate` as tables for people."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from job.quality.evaluation import Evaluation
    from job.quality.scores import Basis, Scores


def evaluation_lines(evaluation: "Evaluation") -> list[str]:
    """Return all results of an evaluation, for people."""
    from job.quality import tables
    from job.quality.memorization import CAUTION

    rows = {"generated": evaluation.generated, "real against real": evaluation.floor}
    lines = score_lines(rows, evaluation.basis)
    if (near := evaluation.near_training) is not None:
        lines += ["", *table_lines(tables.near_table(near)), tables.NEAR_HELP, CAUTION]
    if evaluation.usefulness:
        lines += ["", *table_lines(tables.usefulness_table(evaluation.usefulness))]
    return lines


def score_lines(rows: "dict[str, Scores]", basis: "Basis") -> list[str]:
    """Return a table with one row of scores for each name, and their basis below."""
    from job.quality.tables import basis_text, score_table

    return [*table_lines(score_table(rows)), basis_text(basis)]


def table_lines(cells: "Sequence[tuple[str, ...]]") -> list[str]:
    """Return rows of equally many cells with aligned columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in cells
    ]
