"""Keys from environment variables: names, values, and what is refused."""

import pytest

from job.config.environment import PREFIX, read_environment, variable_of
from job.config.errors import ConfigError
from job.config.keys import value_keys


def test_every_key_has_one_variable() -> None:
    assert variable_of("training.generator_optimizer.beta_1") == (
        "DCGAN_SET_TRAINING__GENERATOR_OPTIMIZER__BETA_1"
    )
    assert len({variable_of(key) for key in value_keys()}) == len(value_keys())


def test_values_are_yaml_and_other_variables_are_left_alone() -> None:
    variables = {
        "DCGAN_SET_TRAINING__STEPS": "100",
        "DCGAN_SET_TRAINING__EPOCHS": "null",
        "DCGAN_SET_MODEL__IMAGE_SIZE": "[32, 32]",
        "DCGAN_SET_URI": "s3://bucket/runs/one",
        "DCGAN_TRACEBACK": "1",
        "DCGAN_TRAIN_SERVICE_HOST": "10.0.0.1",  # of a service named dcgan-train
        "TRAINING__STEPS": "7",
    }
    assert read_environment(variables) == {
        "model": {"image_size": [32, 32]},
        "training": {"epochs": None, "steps": 100},
        "uri": "s3://bucket/runs/one",
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TRAINING__STESP", "3", "unknown key training.stesp; did you mean {}TRAINING__STEPS?"),
        ("TRAINING_STEPS", "3", "did you mean {}TRAINING__STEPS?"),
        ("STEPS", "3", "did you mean {}TRAINING__STEPS?"),
        ("training__steps", "3", "did you mean {}TRAINING__STEPS?"),
        ("TRAINING", "{}", "unknown key training; "),  # a section
        ("XYZ", "3", "expected a key in capitals with __ for each dot: {}TRAINING__STEPS"),
        ("", "3", "expected a key in capitals with __ for each dot"),
        ("TRAINING__STEPS", " ", "is empty; expected a value, or null for an unset one"),
        ("TRAINING__STEPS", "[", "the value is not valid YAML; quote it"),
        ("STORAGE__SECRET_ACCESS_KEY", "hunter2", "credentials do not belong in a configuration"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_environment({PREFIX + name: value})
    text = str(caught.value)
    assert text.startswith(PREFIX + name)
    assert message.replace("{}", PREFIX) in text
    assert "hunter2" not in text


def test_a_command_that_reads_one_section_ignores_others() -> None:
    """Kubernetes sets the second for a service named dcgan-set-up."""
    variables = {"DCGAN_SET_STORAGE__REGION": "eu-1", "DCGAN_SET_UP_SERVICE_HOST": "10.0.0.1"}
    assert read_environment(variables, "storage") == {"storage": {"region": "eu-1"}}
    with pytest.raises(ConfigError, match="DCGAN_SET_UP_SERVICE_HOST: unknown key"):
        read_environment(variables)
    with pytest.raises(ConfigError, match="DCGAN_SET_STORAGE__REGOIN: unknown key"):
        read_environment({"DCGAN_SET_STORAGE__REGOIN": "eu-1"}, "storage")
