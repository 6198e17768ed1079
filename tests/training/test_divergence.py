"""The record of a loss that is not finite, on a store that loses answers."""

from pathlib import Path

import numpy as np
import pytest

from job.gan.step import METRICS
from job.storage import retry
from job.storage.uri import open_store
from job.training import divergence
from job.training.divergence import Diverged, Divergence
from tests.checkpoints.saves import LosingAnswers

pytestmark = pytest.mark.training


def diverged(step: int) -> Diverged:
    metrics = np.zeros((20, len(METRICS)), np.float32)
    metrics[4, 1] = np.nan
    return Diverged(Divergence(step - 5, 4, metrics, (0,)), None)


def test_a_write_whose_answer_is_lost_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    store = open_store(str(tmp_path))
    losing = LosingAnswers(store, "write")
    assert divergence.record(losing, diverged(45), 60.0) == ("divergences/step-000000045-1.json", 1)
    assert losing.num_lost == 1
    assert divergence.count(store) == 1
    assert divergence.record(store, diverged(45), 60.0) == (
        "divergences/step-000000045-2.json",
        2,
    )  # after a rollback, at the same step
    assert divergence.count(store) == 2
