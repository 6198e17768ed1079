"""The index: a written one is read back, and a changed one is refused by the field's name."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from job.config.errors import DataError
from job.data import index as index_module
from job.data.index import (
    ImageClass,
    Index,
    LabelFile,
    PackedSource,
    PackSettings,
    Shard,
    SkippedImage,
    label_shards,
    read_index,
    write_index,
)
from job.storage.uri import open_store

INDEX = Index(
    image_shape=(2, 3, 1),
    num_rows=15,
    shards=(
        Shard("shard-00000.u8", 10, 60, "a" * 64, LabelFile("shard-00000.labels.i32", "b" * 64)),
        Shard("shard-00001.u8", 5, 30, "c" * 64, LabelFile("shard-00001.labels.i32", "d" * 64)),
    ),
    classes=(ImageClass("cat", 9), ImageClass("dog", 6)),
    source=PackedSource(
        "/photos",
        "folder",
        1234,
        16,
        1,
        (SkippedImage("/photos/\udcff.png", "is empty"),),
        {".txt": 2},
    ),
    options=PackSettings(size="2x3", channels=1, limit=16),
    packed_by="dcgan-train 1.0",
)


def test_round_trip(tmp_path: Path) -> None:
    for index in (
        INDEX,
        replace(
            INDEX, classes=None, shards=tuple(replace(shard, labels=None) for shard in INDEX.shards)
        ),
    ):
        write_index(open_store(str(tmp_path)), index)
        assert read_index(open_store(str(tmp_path))) == index


def test_an_index_without_a_signature_is_read(tmp_path: Path) -> None:
    """As versions wrote it that kept none."""
    store = open_store(str(tmp_path))
    write_index(store, replace(INDEX, source=replace(INDEX.source, signature="e" * 64)))
    assert read_index(store).source.signature == "e" * 64
    document = json.loads((tmp_path / "index.json").read_text())
    del document["source"]["signature"]
    (tmp_path / "index.json").write_text(json.dumps(document))
    assert read_index(store) == INDEX
    document["source"]["signature"] = "old"
    (tmp_path / "index.json").write_text(json.dumps(document))
    with pytest.raises(
        DataError, match=r"source.signature is 'old'; expected 64 hexadecimal digits"
    ):
        read_index(store)


def test_fingerprint_is_of_the_images_and_their_order() -> None:
    assert (
        INDEX.fingerprint
        == replace(
            INDEX, packed_by="other", source=replace(INDEX.source, uri="elsewhere")
        ).fingerprint
    )
    changes = [
        replace(INDEX, image_shape=(3, 2, 1)),
        replace(INDEX, shards=INDEX.shards[::-1]),
        replace(INDEX, shards=(replace(INDEX.shards[0], labels=None), INDEX.shards[1])),
    ]
    assert len({INDEX.fingerprint, *(index.fingerprint for index in changes)}) == 4


def test_a_missing_index(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=f"file://{tmp_path}/index.json: not found; expected a packed data set "
        ".*`dcgan-train data pack",
    ):
        read_index(open_store(str(tmp_path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "index.json: is empty; expected"),
        (b"  \n", "index.json: is empty; expected"),
        (b'{"format_version": 1', "is not JSON .*; expected one JSON object"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[1]", r"the document is \[1\]; expected an object"),
        (b"{}", "format_version is missing"),
    ],
)
def test_a_file_that_is_not_an_index(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(DataError, match=f"{message}.*dcgan-train data pack"):
        read_index(open_store(str(tmp_path)))


def put(*path: Any) -> Callable[[Any], None]:
    """A change of a document: ``put("shards", 0, "num_rows", 7)`` sets that field."""

    def change(document: Any) -> None:
        for step in path[:-2]:
            document = document[step]
        document[path[-2]] = path[-1]

    return change


def drop(*path: Any) -> Callable[[Any], None]:
    """A change of a document: ``drop("shards", 0, "num_rows")`` removes that field."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format_version", 2), "format_version is 2; this program reads version 1"),
        (put("format_version", "1"), "format_version is '1'; expected a whole number"),
        (put("dtype", "float32"), "dtype is 'float32'; expected 'uint8'"),
        (
            put("image_shape", [2, 3]),
            r"image_shape is \[2, 3\]; expected \[height, width, channels\]",
        ),
        (
            put("image_shape", [2, 3, 0]),
            "image_shape is .*; expected .height, width, channels., whole numbers of at least 1",
        ),
        (put("num_rows", 14), "num_rows is 14; expected 15, the sum over the 2 shards"),
        (put("num_rows", True), "num_rows is True; expected a whole number of at least 1"),
        (put("shards", {}), "shards is {}; expected a list"),
        (
            put("shards", 1, "num_bytes", 31),
            r"shards\[1\].num_bytes is 31; expected 30, 5 rows of 6 bytes",
        ),
        (
            put("shards", 0, "name", "../shard"),
            r"shards\[0\].name is '../shard'; expected a file name without a folder",
        ),
        (
            put("shards", 0, "name", ".."),
            r"shards\[0\].name is '..'; expected a file name without a folder",
        ),
        (
            put("shards", 0, "labels", "name", "a/b"),
            r"shards\[0\].labels.name is 'a/b'; expected a file name",
        ),
        (
            put("shards", 0, "sha256", "A" * 64),
            r"shards\[0\].sha256 is 'A+.*; expected 64 hexadecimal digits",
        ),
        (drop("shards", 1, "sha256"), r"shards\[1\].sha256 is missing"),
        (put("classes", 0, "name", 3), r"classes\[0\].name is 3; expected text"),
        (
            put("source", "ignored", ".txt", "two"),
            "source.ignored..txt is 'two'; expected a whole number",
        ),
        (put("options", "skip_bad", 0), "options.skip_bad is 0; expected true or false"),
        (put("format_version", 10**4000), "format_version is 1000"),
        (put("dtype", "\udcff\n"), r"dtype is '\\udcff\\n'; expected 'uint8'"),
        (
            put("image_shape", [2**15, 2**15, 3]),
            r"image_shape is \[32768, 32768, 3\]; expected at most 1,073,741,824 bytes",
        ),
        (
            put("image_shape", [10**4000] * 3),
            "image_shape is .*; expected .height, width, channels., whole numbers of at least 1",
        ),
        (
            put("image_shape", [1] * 10_000),
            r"image_shape is \[1, 1, 1, 1, 1, 1, \.\.\.\]; expected \[height",
        ),
        (
            put("num_rows", 2**48 + 1),
            "num_rows is 281474976710657; expected a whole number of at least 1, at most "
            "281474976710656",
        ),
        (
            put("shards", 1, "num_bytes", 2**40 + 1),
            r"shards\[1\].num_bytes is 1099511627777; expected .*, at most 1099511627776",
        ),
        (put("shards", 1, "num_rows", 10**4000), r"shards\[1\].num_rows is 1000"),
        (
            put("shards", 1, "name", "shard-00000.u8"),
            "shards are 4 files with 3 different names; expected different names",
        ),
        (put("shards", 1, "name", "a" * 201), r"shards\[1\].name is 'a+'?.*; expected a file name"),
        (put("shards", [{}] * 100_000), r"shards\[0\].name is missing"),
        (
            put("classes", 0, "name", "x" * 10_001),
            r"classes\[0\].name is 'x+'?.*; expected text of at most 10,000 characters",
        ),
        (
            put("source", "ignored", {"\x1b" * 1000: "one"}),
            r"source.ignored.'\\x1b.* is 'one'; expected a whole number",
        ),
        (put("options", "seed", float("nan")), r"is not JSON \(NaN is not a number in JSON\)"),
        (
            put("options", "seed", 2**63),
            "options.seed is 9223372036854775808; expected a whole number, at most "
            "9223372036854775807",
        ),
        (drop("options", "fit"), "options.fit is missing"),
        (drop("options", "seed"), "options.seed is missing"),
        (drop("options", "skip_bad"), "options.skip_bad is missing"),
        (put("fingerprint", "x" * 10_000), "fingerprint is 'x+.*; expected 64 hexadecimal digits"),
        (
            put("shards", 0, "sha256", "e" * 64),
            "fingerprint is .*: the file was changed after packing",
        ),
    ],
)
def test_a_changed_field_is_named(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    store = open_store(str(tmp_path))
    write_index(store, INDEX)
    document = json.loads(store.read("index.json"))
    change(document)
    store.write("index.json", json.dumps(document).encode())
    with pytest.raises(DataError, match=f"index.json: {message}") as caught:
        read_index(store)
    assert len(str(caught.value)) < 500


def test_an_index_nested_without_end(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(b'{"a":' * 1_000_000)
    with pytest.raises(
        DataError, match=r"index.json: is nested too deeply; expected .*dcgan-train data pack"
    ):
        read_index(open_store(str(tmp_path)))


def test_an_index_larger_than_any_is_neither_written_nor_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))
    write_index(store, INDEX)
    monkeypatch.setattr(index_module, "MAX_BYTES", 1000)
    with pytest.raises(
        DataError,
        match=r"index.json: has more than 1,000 bytes; expected no more.*dcgan-train data pack",
    ):
        read_index(store)
    with pytest.raises(
        DataError,
        match=r"2 shards make an index of [\d,]+ bytes; expected at most 1,000: pack with a "
        "larger --shard-bytes",
    ):
        write_index(store, INDEX)


@pytest.mark.parametrize(
    ("changes", "is_labelled"),
    [
        ({}, True),
        ({"classes": None}, False),
        ({"classes": (ImageClass("cat", 9), ImageClass("dog", 5))}, False),  # one of no class
        ({"shards": (INDEX.shards[0], replace(INDEX.shards[1], labels=None))}, False),
    ],
)
def test_label_files_are_shards_of_four_byte_rows_if_every_image_has_a_class(
    changes: dict[str, Any], is_labelled: bool
) -> None:
    index = replace(INDEX, **changes)
    assert index.is_labelled == is_labelled
    assert label_shards(index) == (
        (
            Shard("shard-00000.labels.i32", 10, 40, "b" * 64),
            Shard("shard-00001.labels.i32", 5, 20, "d" * 64),
        )
        if is_labelled
        else ()
    )
