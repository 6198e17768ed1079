"""The table of scores."""

from job.cli.scores_text import evaluation_lines, score_lines
from job.quality.evaluation import Evaluation, NearTraining, Training
from job.quality.memorization import Memorization
from job.quality.scores import Basis, Scores


def test_columns_are_aligned_and_the_basis_is_below() -> None:
    scores = Scores(12.3456, (10.0, 14.5), 0.00125, 0.0005, 0.5, 0.25, 1.5, 0.75)
    header, first, second, basis = score_lines(
        {"generated": scores, "real against real": scores},
        Basis("classifier", "0123456789abcdef" * 4, "b" * 64, 12_000, 9_000),
    )
    assert first.startswith("generated          ")
    assert (
        first.removeprefix("generated").strip() == second.removeprefix("real against real").strip()
    )
    for text in ("12.346 (10.000 to 14.500)", "0.00125 +- 0.00050", "0.500", "0.250", "1.500"):
        assert text in first
    assert len(header) == len(first) == len(second)
    assert basis == ("9,000 images against 12,000 real ones; features classifier 0123456789abcdef")


def test_distances_and_accuracies_are_tables() -> None:
    scores = Scores(12.3456, (10.0, 14.5), 0.00125, 0.0005, 0.5, 0.25, 1.5, 0.75)
    basis = Basis("classifier", "0123456789abcdef" * 4, "b" * 64, 12_000, 9_000)
    near = Memorization(1.25, 2.5, 0.625, 0.02)
    trainings = (Training("all real", (0.5, 0.75)),)
    found = Evaluation("run", "data", 0, basis, scores, scores, NearTraining(near, near), trainings)
    *_, empty, _, features, pixels, _, caution, also_empty, _, row = evaluation_lines(found)
    assert (empty, also_empty) == ("", "")
    assert features.split() == ["by", "features", "1.250", "2.500", "62.5%", "2.0%"]
    assert pixels.split()[1:] == ["pixels", "1.250", "2.500", "62.5%", "2.0%"]
    assert caution.startswith("This does not prove")
    assert row.split() == ["all", "real", "62.50%", "50.00%", "to", "75.00%"]
