"""An evaluation as JSON: read back as it was, or rejected with the field."""

import dataclasses
import json

import numpy as np
import pytest

from job.config.errors import ConfigError
from job.quality.evaluation import Evaluation, NearTraining, Training, parse_evaluation, to_json
from job.quality.memorization import Memorization
from job.quality.scores import Basis, score

BASIS = Basis("classifier", "a" * 64, "b" * 64, 40, 40)


def test_an_evaluation_is_read_back_and_checked() -> None:
    random = np.random.default_rng(0)
    scores = score(random.normal(size=(40, 4)), random.normal(size=(40, 4)))
    evaluation = Evaluation("run", "data", 0, BASIS, scores, scores)
    text = to_json(evaluation)
    assert parse_evaluation(text.encode(), "a.json") == evaluation
    near = Memorization(1.0, 2.0, 0.9, 0.5)
    whole = dataclasses.replace(
        evaluation,
        near_training=NearTraining(near, near),
        usefulness=(Training("all real", (0.5, 0.75)),),
    )
    assert parse_evaluation(to_json(whole).encode(), "b.json") == whole
    fields = json.loads(text)
    fields["generated"]["precision"] = "high"
    with pytest.raises(ConfigError, match=r"a.json: generated.precision is 'high'; expected a num"):
        parse_evaluation(json.dumps(fields).encode(), "a.json")
    with pytest.raises(ConfigError, match=r"a\.json: is not JSON"):
        parse_evaluation(b"Frechet distance 3", "a.json")
