"""Results as tables of text."""

from job.quality.evaluation import NearTraining, Training
from job.quality.memorization import Memorization
from job.quality.scores import Basis, Scores
from job.quality.tables import basis_text, near_table, score_table, usefulness_table


def test_every_row_has_the_cells_of_its_header() -> None:
    scores = Scores(12.3456, (10.0, 14.5), 0.00125, 0.0005, 0.5, 0.25, 1.5, 0.75)
    near = Memorization(1.25, 2.5, 0.625, 0.02)
    tables = [
        score_table({"generated": scores, "real": scores}),
        near_table(NearTraining(near, near)),
        usefulness_table((Training("all real", (0.5, 0.75)),)),
    ]
    assert [len(table) for table in tables] == [3, 3, 2]
    assert all(len(row) == len(table[0]) for table in tables for row in table)
    assert tables[0][1] == (
        "generated",
        "12.346 (10.000 to 14.500)",
        "0.00125 +- 0.00050",
        "0.500",
        "0.250",
        "1.500",
        "0.750",
    )


def test_the_basis_names_the_features_and_both_numbers() -> None:
    basis = Basis("classifier", "0123456789abcdef" * 4, "b" * 64, 12_000, 9_000)
    assert basis_text(basis) == (
        "9,000 images against 12,000 real ones; features classifier 0123456789abcdef"
    )
