"""Evaluation from Python: what it refuses before TensorFlow is loaded.

tests/cli/test_evaluate.py evaluates images, and an example a run (test_run.py).
"""

from pathlib import Path

import pytest

from job.api import ConfigError, DataError, Usefulness, evaluate
from tests.quality.pictures import packed_bars


def test_wrong_arguments(tmp_path: Path) -> None:
    packed_bars(tmp_path / "few", 39)
    packed_bars(tmp_path / "real", 60)
    images, real = str(tmp_path / "few.npz"), str(tmp_path / "real")
    with pytest.raises(DataError, match="39 images; expected at least 40"):
        evaluate(images, str(tmp_path / "few"))
    with pytest.raises(ConfigError, match="num_images is 31; expected at most 30, half of"):
        evaluate(images, real, num_images=31)
    with pytest.raises(ConfigError, match="usefulness is set without held_out"):
        evaluate(images, real, usefulness=Usefulness(repeats=1))
    for wrong in ({"num_images": 0}, {"seed": -1}, {"usefulness": Usefulness(steps=0)}):
        with pytest.raises(ConfigError, match="expected a whole number"):
            evaluate(images, real, **wrong)
