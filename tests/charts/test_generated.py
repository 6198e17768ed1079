"""The generated parts of the chart are up to date: README, schema, version."""

import json
import re
import tomllib
from typing import Any

import yaml

from charts import generate
from job.config.keys import all_keys
from tests.charts.helm import CHART
from tests.servers.tools import ROOT

VALUES = yaml.safe_load(CHART.joinpath("values.yaml").read_text())


def test_readme_and_schema_are_up_to_date() -> None:
    assert generate.README.read_text() == generate.readme(), "run `python charts/generate.py`"
    assert generate.SCHEMA.read_text() == generate.schema(), "run `python charts/generate.py`"
    assert generate.RUN.read_text() == generate.run(), "run `python charts/generate.py`"


def test_every_value_is_documented() -> None:
    """By itself, or with the section that it is an entry of."""
    documented = {
        key for key, _, _ in generate.documented(CHART.joinpath("values.yaml").read_text())
    }

    def undocumented(values: Any, path: str) -> list[str]:
        if path in documented:
            return []
        if not isinstance(values, dict) or not values:
            return [path]
        return [
            each
            for name, value in values.items()
            for each in undocumented(value, f"{path}.{name}".lstrip("."))
        ]

    assert undocumented(VALUES, "") == []


def test_schema_knows_every_key_of_a_run_and_is_closed() -> None:
    schema = json.loads(generate.SCHEMA.read_text())

    def keys(part: Any, prefix: str) -> list[str]:
        return [
            each
            for name, inner in part["properties"].items()
            for each in [
                prefix + name,
                *(keys(inner, f"{prefix}{name}.") if "properties" in inner else []),
            ]
        ]

    assert sorted(keys(schema["properties"]["run"], "")) == sorted(
        set(all_keys()) - generate.OF_THE_CHART
    )
    open_objects = [
        path
        for path, part in _objects(schema, "")
        if "additionalProperties" not in part and "properties" in part
    ]
    assert open_objects == []


def _objects(schema: Any, path: str) -> Any:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, part in schema.items():
            yield from _objects(part, f"{path}/{name}")


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load(CHART.joinpath("Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_ray_is_the_locked_one() -> None:
    (locked,) = re.findall(
        r"^ray(?:\[.*\])?==([0-9.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert VALUES["rayVersion"] == locked
