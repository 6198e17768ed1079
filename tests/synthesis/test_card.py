"""The data card and ``croissant.json`` of generated images."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from job.config.storage import StorageSpec
from job.synthesis.card import Written, croissant_of, data_card
from job.synthesis.marking import DIGITAL_SOURCE_TYPE
from job.synthesis.plan import Plan

PLAN = {
    "num_images": 1_200_000,
    "start": 0,
    "seed": 3,
    "part_images": 128,
    "checkpoint": "s3://runs/one/checkpoints/step-000000020",
    "step": 20,
    "generator": "a" * 64,
    "image_shape": (28, 28, 1),
    "data_fingerprint": "b" * 64,
}
FILES = [Written("shard-000000000-000000127.tar", 10, "c" * 64)]


def plan(form: str, **more: object) -> Plan:
    return Plan(format=form, **PLAN | more)  # type: ignore[arg-type]


def head(card: bytes) -> dict[str, object]:
    """Return the card's fields, as Hugging Face reads them."""
    _, fields, _ = card.decode().split("---\n", 2)
    return yaml.safe_load(fields)


def test_the_head_of_the_card_has_the_fields_of_hugging_face() -> None:
    fields = head(data_card(plan("parquet", classes=("a", "b"), license="cc0-1.0"), "set"))
    assert fields["license"] == "cc0-1.0"
    assert fields["size_categories"] == ["1M<n<10M"]
    assert fields["task_categories"] == ["image-classification"]
    assert "synthetic" in fields["tags"]
    [config] = fields["configs"]
    assert config["data_files"] == [{"split": "train", "path": "shard-*.parquet"}]
    features = {each["name"]: each["dtype"] for each in fields["dataset_info"]["features"]}
    assert features["label"] == {"class_label": {"names": {"0": "a", "1": "b"}}}
    assert fields["dataset_info"]["splits"] == [{"name": "train", "num_examples": 1_200_000}]


@pytest.mark.parametrize("form", ["tar", "parquet", "shards"])
def test_the_card_says_how_the_images_were_made_and_marked(form: str) -> None:
    text = data_card(plan(form), "set").decode()
    for value in (PLAN["checkpoint"], PLAN["generator"], PLAN["data_fingerprint"]):
        assert str(value) in text
    assert "0 ... 1199999" in text
    assert DIGITAL_SOURCE_TYPE in text
    assert DIGITAL_SOURCE_TYPE not in data_card(plan(form, marked=False), "set").decode()


def test_the_card_says_which_classes_were_made() -> None:
    """The seed and the index alone do not decide them."""
    of_all = plan("tar", classes=("cat", "dog"))
    some = plan("png", classes=("cat", "dog"), labels=(1,))
    assert (
        "| classes of the images | as in the training images |" in data_card(of_all, "a").decode()
    )
    assert "| classes of the images | in turn: dog |" in data_card(some, "a").decode()
    assert "classes of the images" not in data_card(plan("tar"), "a").decode()
    assert head(data_card(some, "a"))["task_categories"] == ["unconditional-image-generation"]


def test_a_hostile_name_cannot_add_lines_to_the_card() -> None:
    evil = plan("tar", checkpoint="x |\n\n# Heading", classes=("a\nlicense: mit", "\udcff"))
    card = data_card(evil, "set")
    assert "\n# Heading" not in card.decode()
    assert head(card)["license"] == "unknown"


@pytest.mark.parametrize(
    ("form", "columns"), [("tar", 2), ("png", 2), ("parquet", 3), ("shards", 0)]
)
def test_croissant_describes_the_records_that_can_be_read(form: str, columns: int) -> None:
    """Single PNGs have no files of labels."""
    described = plan(form, classes=("bag",) if form == "png" else ())
    files = [] if form == "png" else FILES  # listed in generation.json
    document = json.loads(croissant_of(described, "set", "2026-11-29", files))
    records = document.get("recordSet", [])
    assert sum(len(each["field"]) for each in records) == columns
    assert [each["sha256"] for each in document["distribution"] if "sha256" in each] == [
        file.sha256 for file in files
    ]
    assert "Synthetic" in document["rai:dataCollectionType"]
    assert DIGITAL_SOURCE_TYPE in document["description"]


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_croissant_has_the_label_of_an_image_and_the_names_of_the_labels(form: str) -> None:
    labelled = plan(form, classes=("bag", "shoe"))
    document = json.loads(croissant_of(labelled, "set", "2026-11-29", FILES))
    fields = {each["@id"]: each for group in document["recordSet"] for each in group["field"]}
    label = fields["records/label"]["source"]
    if form == "tar":  # in a file beside the PNG: joined to it by its name
        sets = {each["@id"]: each for each in document["distribution"]}
        assert sets["label-files"]["includes"] == "*.cls"
        assert sets["label-files"]["containedIn"] == sets["images"]["containedIn"]
        assert document["recordSet"][0]["key"] == {"@id": "labels/name"}
        assert label == {"field": {"@id": "labels/label"}}
        joined = fields["records/name"]["references"]["field"]["@id"]
        names = [fields[each]["source"]["transform"]["regex"] for each in (joined, "records/name")]
        assert re.match(names[0], "000000012.cls")[1] == re.match(names[1], "000000012.png")[1]
        label = fields["labels/label"]["source"]
    ids = [each["@id"] for each in (*document["distribution"], *document["recordSet"])]
    assert label["fileSet"]["@id"] in ids
    assert len(ids) == len(set(ids))
    described = fields["labels/label" if form == "tar" else "records/label"]["description"]
    assert described == 'The names of the labels 0, 1, ...: ["bag", "shoe"]'


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_every_prefix_and_property_is_in_its_context(form: str) -> None:
    """Otherwise JSON-LD would take a property for one of schema.org."""
    found = json.loads(croissant_of(plan(form, classes=("bag",)), "set", "2026-11-29", FILES))
    context = found.pop("@context")
    schema_org = {"version", "datePublished", "distribution", "contentUrl", "contentSize"}
    schema_org |= {"encodingFormat", "sha256", "license"}

    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(keys, value.values()))
        return set().union(*map(keys, value)) if isinstance(value, list) else set()

    for key in keys(found) - schema_org:
        prefix = key.partition(":")[0]
        assert key.startswith("@") or key in context or prefix in context, key


@pytest.mark.training
@pytest.mark.parametrize("form", ["tar", "parquet", "shards"])
def test_both_are_beside_the_images(run_folder: Path, tmp_path: Path, form: str) -> None:
    """Every part is listed with its size."""
    from tests.synthesis.runs import make_set  # loads TensorFlow

    make_set(run_folder, tmp_path, form, StorageSpec())
    assert head((tmp_path / "README.md").read_bytes())["pretty_name"]
    document = json.loads((tmp_path / "croissant.json").read_text())
    files = {each["contentUrl"]: each for each in document["distribution"] if "contentUrl" in each}
    assert files.keys() == {path.name for path in tmp_path.glob("shard-*")}
    for name, file in files.items():
        assert file["contentSize"] == f"{(tmp_path / name).stat().st_size} B"
