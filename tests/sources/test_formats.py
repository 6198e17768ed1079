"""File names and first bytes: hidden files, extensions, classes, and remedies for other formats."""

from pathlib import Path

import pytest
from PIL import Image

from job.config.errors import DataError
from job.sources.formats import describe_counts, is_image_name, label_of
from job.sources.open_source import open_source
from tests.data.samples import (
    encoded,
    grey_png,
    write_folder,
    write_tar,
    write_zip,
)
from tests.sources.image_files import decode_any
from tests.sources.reading import files_of, read_all


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"is empty; expected PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF images"),
        ({f"{n}.txt": b"" for n in range(12)}, r"12 files, none an image \(.txt x12\)"),
        (
            {"a.csv": b"", "b.txt": b"", "c.txt": b""},
            r"3 files, none an image \(.txt x2, .csv x1\)",
        ),
        (
            {"a.zip": b"", "b.tar.gz": b""},
            r"2 files, none an image \(.gz x1, .zip x1\); .*: archives inside are not opened: "
            "unpack them, or give one of them as SOURCE",
        ),
        (
            {"a.npz": b"", "b.txt": b""},
            r"2 files, none an image \(.npz x1, .txt x1\); .*: arrays inside are not opened: "
            "give the file of one as SOURCE",
        ),
        (
            {"data/train-00000.parquet": b""},
            r"1 file, none an image \(.parquet x1\); .*: tables are not read; save the images "
            "in them as PNG files, or as one",
        ),
        (
            {"index.json": b"", "shard-00000.u8": b""},
            r"2 files, .*: this is a packed data set already: train on it as it is",
        ),
        (
            {"1f3a": b"", "1f3b": b""},
            r"2 files, none an image \(no extension x2\); .*: images are known by their "
            "extension: rename them",
        ),
    ],
)
def test_a_folder_without_images(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "set").mkdir()
    write_folder(tmp_path / "set", files)
    with pytest.raises(DataError, match=f"{tmp_path}/set: {message}"):
        open_source(str(tmp_path / "set"))


HIDDEN = (
    ".ipynb_checkpoints/a.png", "cat/.git/a.png", ".Trash-1000/files/a.png", ".thumbnails/a.png",
    "cat/@eaDir/a.png", "@__thumb/a.png",
    "$RECYCLE.BIN/S-1-5/a.png", "lost+found/a.png", "__MACOSX/cat/a.png", "cat/._a.png",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "tar", "zip", "dotted", "below-dots"])
def test_hidden_and_system_folders_hold_no_images(tmp_path: Path, kind: str) -> None:
    files = {"cat/1.png": grey_png(1), "dog/2.png": grey_png(2)} | dict.fromkeys(
        HIDDEN, grey_png(9)
    )
    source = {
        "folder": lambda: write_folder(tmp_path / "set", files),
        "tar": lambda: write_tar(tmp_path / "a.tar", files),
        "zip": lambda: write_zip(tmp_path / "a.zip", files),
        "dotted": lambda: write_tar(
            tmp_path / "a.tar", {f"./{name}": data for name, data in files.items()}
        ),
        "below-dots": lambda: write_folder(tmp_path / ".cache" / "lost+found", files),
    }[kind]()
    opened = open_source(str(source))
    assert [(label, grey) for _, label, grey in files_of(opened)] == [("cat", 1), ("dog", 2)]
    assert opened.ignored == {"hidden": len(HIDDEN)}


@pytest.mark.parametrize(
    ("name", "is_image"),
    [
        *((f"{folder}a.JPG", True) for folder in ("", "/", "./", "../", "x/", "x//", "x.y/./")),
        *((f"{folder}a.JPG", False) for folder in (".x/", "x/.y/", ".../", "Lost+Found/")),
        *((name, True) for name in ("a.tar.jpg", "x/a b.webp", "a.png/", "\u0130.png")),
        *((name, False) for name in ("", "jpg", ".jpg", "x/.jpg", "..jpg", "a.jpg.", "a.jpg/b")),
    ],
)
def test_an_image_has_an_extension_and_no_hidden_folder(name: str, is_image: bool) -> None:
    assert is_image_name(name) == is_image


def test_a_source_of_hidden_images_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"1 file, none an image \(hidden x1\); expected .*; hidden and system folders "
        "are left out",
    ):
        open_source(str(write_folder(tmp_path / "set", {".git/a.png": grey_png(1)})))


def test_kinds_of_ignored_files_are_few(tmp_path: Path) -> None:
    """Numbers and addresses after the last dot, of which there may be a million, are not listed."""
    files = {f"frame.{number:06}": b"" for number in range(50)} | {
        f"b.jpg?w={number}": b"" for number in range(50)
    }
    source = open_source(
        str(write_folder(tmp_path / "set", {"a.png": grey_png(1), "d.TXT": b"", "e": b""} | files))
    )
    assert source.ignored == {".txt": 1, "no extension": 1, "other extension": 100}
    kinds = {f".e{number}": 2 + (number < 10) for number in range(2000)}
    assert (
        describe_counts(kinds)
        == ", ".join(f".e{number} x3" for number in range(10)) + ", others x3980"
    )


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_images_that_are_not_read_are_counted_and_the_remedy_is_named(
    tmp_path: Path, kind: str
) -> None:
    files = {f"{number}.heic": b"x" for number in range(12)} | {"a.cr2": b"x", "notes.txt": b"x"}
    source = (
        write_folder(tmp_path / "set", files)
        if kind == "folder"
        else write_zip(tmp_path / "a.zip", files)
    )
    with pytest.raises(
        DataError,
        match=r"14 files, among them 13 images of formats that are not read \(\.heic x12, "
        r"\.cr2 x1\): convert them to PNG or JPEG",
    ):
        list(read_all(open_source(str(source))))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("caf\u00e9/1.png", "caf\u00e9"),
        ("cafe\u0301/1.png", "caf\u00e9"),  # as macOS writes it
        ("1.png", None),
        ("../1.png", None),
        ("/1.png", None),
        ("a/b/1.png", "b"),
    ],
)
def test_the_class_is_the_folder_in_one_form_of_unicode(name: str, label: str | None) -> None:
    assert label_of(name) == label


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC image, which is not read; convert it"),
        (b"\xff\x0a\0\0", "is a JPEG XL image"),
        (encoded(Image.new("L", (8, 8)), "JPEG2000"), "is a JPEG 2000 image"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid ",
            "is a Git LFS pointer, not an image; fetch the images with `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html>", "is a web page or SVG"),
        (
            b"II*\0\x08\0\0\0\0\0",
            "is a TIFF image that is damaged or of a kind that Pillow cannot read",
        ),
    ],
)
def test_a_format_that_is_not_read_is_named_by_content(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_any(data)
