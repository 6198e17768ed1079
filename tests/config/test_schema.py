"""The JSON Schema of ``run.yaml`` accepts what the program accepts, and no more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from job.config.documents import preset_names, read_preset
from job.config.keys import all_keys
from job.config.schema import run_schema, without_null
from job.config.spec import RunSpec

ROOT = Path(__file__).parents[2]
SCHEMA = run_schema()


def leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in section["properties"].items():
        yield prefix + name, value
        if "properties" in value:
            yield from leaves(value, f"{prefix}{name}.")


def test_it_has_every_key_with_a_meaning_and_no_reference() -> None:
    found = dict(leaves(SCHEMA))
    assert list(found) == list(all_keys())
    assert [key for key, value in found.items() if not value.get("description")] == []
    assert "$ref" not in str(SCHEMA)


@pytest.mark.slow
@pytest.mark.parametrize("preset", preset_names())
def test_presets_are_valid(preset: str) -> None:
    jsonschema.validate(read_preset(preset), SCHEMA)


def test_defaults_are_valid_and_are_those_of_the_program() -> None:
    values = RunSpec().model_dump(mode="json")
    jsonschema.validate(values, SCHEMA)
    for key, value in leaves(SCHEMA):
        if "properties" not in value:
            found: Any = values
            for name in key.split("."):
                found = found[name]
            assert value["default"] == found, key


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "sede: 1",
        "training: {steps: 0}",
        "training: {updates: both}",
        "model: {image_size: [28]}",
        "data: {verify: 1}",
        "workers: {count: null}",
    ],
)
def test_wrong_values_are_refused(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text), SCHEMA)


def test_without_null_is_the_kind_of_a_value_that_is_set() -> None:
    keys = dict(leaves(SCHEMA))
    assert without_null(keys["training.steps"]) == {"minimum": 1, "type": "integer"}
    assert without_null(keys["seed"]) is keys["seed"]
    size = keys["model.image_size"]
    assert without_null(size) is size  # a list or one number, never unset
