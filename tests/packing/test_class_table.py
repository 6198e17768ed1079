"""Classes: from folders or labels, sorted, and the label of each row."""

from pathlib import Path

import numpy as np
import pytest

from job.config.errors import DataError
from job.data.index import ImageClass
from job.packing.class_table import ClassTable
from tests.data.samples import (
    class_files,
    grey_png,
    numbered,
    packed_index,
    packed_labels,
    packed_rows,
    write_folder,
    write_zip,
)


def test_folders_become_classes(tmp_path: Path) -> None:
    files = class_files(9) | {"cat/readme.txt": b"", "loose.png": grey_png(99)}
    index = packed_index(write_folder(tmp_path / "set", files), tmp_path / "out")
    rows, labels = (
        packed_rows(tmp_path / "out", index)[:, 0, 0, 0],
        packed_labels(tmp_path / "out", index),
    )
    assert index.classes == (ImageClass("cat", 3), ImageClass("dog", 3), ImageClass("owl", 3))
    assert dict(zip(rows.tolist(), labels.tolist(), strict=True)) == {
        value: value % 3 for value in range(9)
    } | {99: -1}
    assert index.source.ignored == {".txt": 1}


def test_classes_are_sorted_by_number_or_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=numbered(4), y=np.array([10, 9, -1, 10]))
    index = packed_index(tmp_path / "a.npz", tmp_path / "out")
    assert index.classes == (ImageClass("-1", 1), ImageClass("9", 1), ImageClass("10", 2))
    path = write_zip(
        tmp_path / "a.zip",
        {f"{folder}/{n}.png": grey_png(n) for n, folder in enumerate(["zebra", "10", "9", "ape"])},
    )
    index = packed_index(path, tmp_path / "zip")
    assert index.classes == tuple(ImageClass(name, 1) for name in ("9", "10", "ape", "zebra"))
    values = packed_rows(tmp_path / "zip", index)[:, 0, 0, 0].tolist()
    assert dict(zip(values, packed_labels(tmp_path / "zip", index).tolist(), strict=True)) == {
        0: 3,
        1: 1,
        2: 0,
        3: 2,
    }


@pytest.mark.parametrize(
    "files",
    [{f"{n}.png": grey_png(n) for n in range(4)}, {f"all/{n}.png": grey_png(n) for n in range(4)}],
)
def test_one_folder_of_images_has_no_labels(tmp_path: Path, files: dict[str, bytes]) -> None:
    index = packed_index(write_folder(tmp_path / "set", files), tmp_path / "out")
    assert index.classes is None
    assert {shard.labels for shard in index.shards} == {None}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "croissant.json",
        "index.json",
        "shard-00000.u8",
    ]


def test_numbers_met_in_any_order_become_places_in_the_sorted_classes() -> None:
    table = ClassTable(None)
    numbers = [*table.add_values(np.array([10, 9, 10])).tolist(), table.add_name("ape")]
    numbers += [table.add_name(None)]
    assert table.classes() == (ImageClass("9", 1), ImageClass("10", 2), ImageClass("ape", 1))
    assert table.final_labels(np.array(numbers, np.int32)).tolist() == [1, 0, 1, 2, -1]


def test_classes_that_the_source_names_stay_in_its_order() -> None:
    table = ClassTable(("zebra", "ape"))
    assert table.final_labels(table.add_values(np.array([1, 1, 0]))).tolist() == [1, 1, 0]
    assert table.classes() == (ImageClass("zebra", 1), ImageClass("ape", 2))
    for values in ([2, 0], [-1]):
        with pytest.raises(DataError, match=rf"labels from {min(values)} to .*; expected 0 to 1"):
            table.add_values(np.array(values))
