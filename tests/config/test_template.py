"""The ``run.yaml`` of ``config init`` trains as its preset does, with the comments removed, too."""

import re

import jsonschema
import pytest
import yaml

from job.config.documents import lookup, preset_names
from job.config.load import load_run, to_dict
from job.config.schema import run_schema
from job.config.template import OFTEN_CHANGED, WIDTH, template


@pytest.mark.parametrize("preset", preset_names())
def test_it_sets_the_preset_and_nothing_else(preset: str) -> None:
    text = template(preset, "run.yaml", "run.schema.json")
    assert yaml.safe_load(text) == {"preset": preset, "uri": "", "data": {"uri": ""}}
    assert text.startswith("# yaml-language-server: $schema=run.schema.json\n")
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []


@pytest.mark.slow
@pytest.mark.parametrize("preset", preset_names())
def test_each_commented_key_has_the_value_of_the_preset(preset: str) -> None:
    text = template(preset, "run.yaml", "run.schema.json")
    document = yaml.safe_load(re.sub(r"^# ( *[a-z_0-9]+:( .*)?)$", r"\1", text, flags=re.M))
    jsonschema.validate(document, run_schema())
    values = to_dict(load_run(preset, check=False))
    found = {key: lookup(document, key) for key in OFTEN_CHANGED}
    assert found == {key: lookup(values, key) for key in OFTEN_CHANGED}


def test_each_key_has_its_meaning_above_it() -> None:
    text = template("fashion", "my run.yaml", "run.schema.json")
    assert "#   # Newest checkpoints kept.\n#   keep: 3\n" in text
    assert "--config 'my run.yaml'\n" in text
