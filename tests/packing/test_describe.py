"""``croissant.json`` beside packed images."""

import json
from pathlib import Path

from job.data.index import read_index
from job.storage.uri import open_store
from tests.data.samples import class_files, packed_index, write_folder


def test_every_file_is_listed_with_its_hash(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets", class_files(12))
    index = packed_index(folder, tmp_path / "packed pets")
    document = json.loads((tmp_path / "packed pets" / "croissant.json").read_text())
    files = {file["contentUrl"]: file for file in document["distribution"]}
    written = {path.name for path in (tmp_path / "packed pets").glob("shard-*")}
    assert files.keys() == written
    for shard in index.shards:
        assert files[shard.name]["sha256"] == shard.sha256
        assert files[shard.labels.name]["sha256"] == shard.labels.sha256
    for name, file in files.items():
        size = (tmp_path / "packed pets" / name).stat().st_size
        assert file["contentSize"] == f"{size} B"
    assert document["name"] == "packed-pets"
    assert "12 images of 4x4x1" in document["description"]
    assert "Classes: cat, dog, owl" in document["description"]
    assert str(folder) in document["rai:dataCollection"]
    assert read_index(open_store(str(tmp_path / "packed pets"))) == index
