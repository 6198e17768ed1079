"""``croissant.json``: what the reference implementation requires of it.

``mlcroissant validate`` is not part of the tests: docs/generate.md has the command.
"""

import json
from typing import Any

import pytest

from job.data.croissant import (
    DataFile,
    Description,
    croissant,
    field,
    file_set,
    of_files,
    record_set,
    set_name,
)

ABOUT = Description("a-set", "Text", "2026-11-29", {"dataBiases": "none", "dataUseCases": ["a"]})
FILE = DataFile("shard-0.tar", 7, "0" * 64, "application/x-tar")
IN_TARS = file_set("*.png", "image/png", [FILE.name])
BESIDE = file_set("*.parquet", "application/x-parquet")


def document(*sets: dict[str, Any]) -> dict[str, Any]:
    image = field("records/image", "sc:ImageObject", of_files({"fileProperty": "content"}))
    records = [record_set("records", [image])]
    return json.loads(croissant(ABOUT, [FILE], sets, records if sets else []))


def test_it_conforms_to_croissant_and_its_rai_vocabulary() -> None:
    found = document()
    assert found["@type"] == "sc:Dataset"
    assert "http://mlcommons.org/croissant/1.1" in found["conformsTo"]
    assert found["rai:dataUseCases"] == ["a"]
    assert "recordSet" not in found
    assert "license" not in found


@pytest.mark.parametrize("image_set", [IN_TARS, BESIDE])
def test_every_reference_has_its_object(image_set: dict[str, Any]) -> None:
    found = document(image_set)
    ids = {each["@id"] for each in found["distribution"]}
    for record_field in found["recordSet"][0]["field"]:
        assert record_field["source"]["fileSet"]["@id"] in ids
    assert {each["@id"] for each in image_set.get("containedIn", [])} <= ids


def test_a_name_is_the_last_part_of_the_uri() -> None:
    assert set_name("s3://bucket/my set/") == "my-set"
    assert set_name("s3://bucket/...") == "images"
