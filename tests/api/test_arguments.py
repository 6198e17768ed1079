"""Arguments of Python's functions are checked before anything is loaded or written."""

import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest

import job.api
from job.api.arguments import PYTHON_NAMES, check_choice, check_whole, python_names, setting
from job.config.errors import ConfigError
from job.config.load import load_run
from job.run.lease import LeaseHeld


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


def test_errors_name_the_argument_of_python() -> None:
    with pytest.raises(ConfigError) as caught, python_names():
        raise LeaseHeld(
            "--num is 3, --held-out too: DEST of /data/DEST/--num; see --shard-bytes, 'SOURCE.png',"
            " `--num 3` or (dcgan-train data pack SOURCE DEST, then DEST)"
        )
    assert type(caught.value) is LeaseHeld
    assert str(caught.value) == (
        "num_images is 3, held_out too: destination of /data/DEST/--num; see --shard-bytes,"
        " 'SOURCE.png', `--num 3` or (dcgan-train data pack SOURCE DEST, then destination)"
    )


@pytest.mark.parametrize("function", [job.api.train, job.api.pack, job.api.evaluate])
def test_functions_can_be_sent_to_other_processes(function: object) -> None:
    assert pickle.loads(pickle.dumps(function)) is function


def test_every_name_is_an_argument() -> None:
    functions = [getattr(job.api, name) for name in job.api.__all__ if name.islower()]
    functions.append(job.api.Generator.sample)
    arguments = {name for each in functions for name in inspect.signature(each).parameters}
    others = set(PYTHON_NAMES.values()) - arguments
    assert others == {"usefulness.per_class", "checkpoints.resume", "TMPDIR"}
