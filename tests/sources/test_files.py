"""Folders of images: names, classes, links, and folders without images."""

from pathlib import Path

import pytest

from job.config.errors import DataError
from job.sources.files import StoreSource
from job.sources.open_source import open_source
from job.sources.source import ImageFile
from job.storage.uri import open_store
from tests.data.samples import (
    class_files,
    grey_png,
    write_folder,
)
from tests.sources.reading import files_of


def test_folder(tmp_path: Path) -> None:
    write_folder(
        tmp_path,
        class_files(6)
        | {
            "notes.txt": b"x",
            "cat/.DS_Store": b"x",
            "__MACOSX/cat/000.png": b"AppleDouble",
            "LICENSE": b"",
        },
    )
    source = open_source(str(tmp_path))
    assert (source.kind, source.num_images) == ("folder", 6)
    assert source.ignored == {".txt": 1, "hidden": 2, "no extension": 1}
    expected = [("cat", 0), ("cat", 3), ("dog", 1), ("dog", 4), ("owl", 2), ("owl", 5)]
    assert files_of(source) == [
        (f"{tmp_path}/{folder}/{value:03d}.png", folder, value) for folder, value in expected
    ]
    assert {item.load() for item in source.items()} == set(class_files(6).values())


def test_extensions_in_any_case(tmp_path: Path) -> None:
    write_folder(
        tmp_path, {name: grey_png(7) for name in ("a.PNG", "b.Jpg", "c.jpeg", "d.webp", "e.bmp")}
    )
    assert [(label, grey) for _, label, grey in files_of(open_source(f"file://{tmp_path}"))] == [
        (None, 7)
    ] * 5


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", {"a.png": grey_png(1)})
    folder = write_folder(tmp_path / "set", {"b.png": grey_png(2)})
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "self").symlink_to(folder)
    (folder / "broken.png").symlink_to(tmp_path / "nowhere")
    source = open_source(str(folder))
    assert [
        item.name.removeprefix(f"{folder}/")
        for item in source.items()
        if isinstance(item, ImageFile)
    ] == [
        "b.png",
        "broken.png",
        "linked/a.png",
    ]


def test_a_store_gives_its_images_in_the_order_of_keys(tmp_path: Path) -> None:
    """Keys as Windows uploads them have classes, too."""
    files = {"dog/2.png": grey_png(2), "cat\\1.png": grey_png(1), "notes.txt": b"", ".a.png": b""}
    store = open_store(str(write_folder(tmp_path / "set", files)))
    source = StoreSource(store)
    assert files_of(source) == [
        (f"{store.uri}/cat\\1.png", "cat", 1),
        (f"{store.uri}/dog/2.png", "dog", 2),
    ]
    assert source.num_bytes == len(grey_png(1)) + len(grey_png(2))
    assert source.ignored == {".txt": 1, "hidden": 1}
    signature = source.signature
    store.write("dog/2.png", grey_png(3))
    assert StoreSource(store).signature != signature


def test_a_store_without_images_is_refused(tmp_path: Path) -> None:
    store = open_store(str(write_folder(tmp_path / "set", {"a.txt": b""})))
    with pytest.raises(DataError, match=rf"{store.uri}: 1 file, none an image \(.txt x1\)"):
        StoreSource(store)
