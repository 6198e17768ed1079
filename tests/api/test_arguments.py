"""Arguments of Python's functions are checked before anything is loaded or written."""

from pathlib import Path

import numpy as np
import pytest

from job.api.arguments import check_choice, check_whole, setting
from job.config.errors import ConfigError
from job.config.load import load_run


@pytest.mark.parametrize("value", [3, np.int64(3)])
def test_whole_numbers(value: object) -> None:
    assert check_whole("seed", value, 0) == 3


@pytest.mark.parametrize("value", [-1, 11, 3.0, "3", True, None])
def test_others(value: object) -> None:
    with pytest.raises(ConfigError, match=r"limit is .*; expected a whole number, 0 to 10"):
        check_whole("limit", value, 0, 10)


def test_choices() -> None:
    check_choice("split", None, (None, "train"))
    with pytest.raises(ConfigError, match="split is 'all'; expected one of None, 'train'"):
        check_choice("split", "all", (None, "train"))


def test_settings_keep_their_values() -> None:
    values = {
        "uri": Path("runs/😀 a=b"),
        "data.uri": "true",
        "training.steps": np.int64(7),
        "model.image_size": (28, 28),
        "model.conditional": True,
    }
    spec = load_run("fashion", overrides=[setting(*each) for each in values.items()])
    assert (spec.uri, spec.data.uri) == ("runs/😀 a=b", "true")
    assert (spec.training.steps, spec.model.conditional) == (7, True)
    with pytest.raises(ConfigError, match=r"data\.uri is <object"):
        setting("data.uri", object())
