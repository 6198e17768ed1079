"""The report shows the evaluation that `evaluate --record` left in the run folder."""

import dataclasses

import numpy as np
import pytest

from job.images.grids import image_grid, png_bytes
from job.quality.evaluation import Evaluation, NearTraining, Training, to_json
from job.quality.memorization import Memorization
from job.quality.scores import Basis, Scores
from job.report.evaluated import read_evaluated
from job.report.html_report import build_report
from job.run.layout import EVALUATION, PAIRS
from job.storage.store import ObjectStore
from tests.report.runs import done_run

SCORES = Scores(12.3456, (10.0, 14.5), 0.00125, 0.0005, 0.5, 0.25, 1.5, 0.75)
NEAR = Memorization(1.25, 2.5, 0.625, 0.02)
FOUND = Evaluation(
    "runs/one/checkpoints/step-000000100 <b>",
    "packed",
    0,
    Basis("classifier", "0123456789abcdef" * 4, "b" * 64, 12_000, 9_000),
    SCORES,
    dataclasses.replace(SCORES, frechet_distance=0.25),
    NearTraining(NEAR, NEAR),
    (Training("all real", (0.5, 0.75)),),
)


@pytest.mark.slow
def test_scores_distances_accuracies_and_pairs_are_shown(folder: ObjectStore) -> None:
    done_run(folder)
    pairs = np.random.default_rng(0).integers(0, 256, (80, 28, 28, 1), dtype=np.uint8)
    folder.write(EVALUATION, to_json(FOUND).encode())
    folder.write(PAIRS, png_bytes(image_grid(pairs, 4, 20, 2, padding=2)))
    page = build_report(folder).decode()
    for text in (
        "step-000000100 &lt;b&gt;",
        "12.346 (10.000 to 14.500)",
        "0.250 (10.000 to 14.500)",
        "62.5%",
        "This does not prove that nothing was copied",
        "50.00% to 75.00%",
        "the 20 closest pairs",
    ):
        assert text in page
    assert len(page) < 1_000_000


@pytest.mark.parametrize("data", [None, b"{", b"{}", b"\xff", b" " * (2 << 20)])
def test_a_missing_or_broken_evaluation_is_left_out(
    folder: ObjectStore, data: bytes | None
) -> None:
    if data is not None:
        folder.write(EVALUATION, data)
    assert read_evaluated(folder) is None


def test_broken_pairs_are_left_out(folder: ObjectStore) -> None:
    folder.write(EVALUATION, to_json(FOUND).encode())
    folder.write(PAIRS, b"GIF89a")
    found = read_evaluated(folder)
    assert found is not None
    assert (len(found.tables), found.pairs) == (3, None)
