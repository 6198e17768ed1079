"""Sources: every format gives its images and labels in order, every broken one an error that names the file."""

import gzip
import io
import lzma
import os
import re
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.config.errors import ConfigError, DataError
from job.sources.decode import decode_all
from job.sources.formats import describe_counts, label_of
from job.sources.image import ImagePolicy, decode_image
from job.sources.open_source import canonical_uri, open_source
from job.sources.source import ImageBlock, ImageFile, Source
from tests.data.samples import (
    class_files,
    encoded,
    grey_png,
    idx,
    numbered,
    write_folder,
    write_tar,
    write_zip,
)

ROOT = Path(__file__).parents[2]
GREY = ImagePolicy(None, 1)


def files_of(source: Source) -> list[tuple[str, str | None, int]]:
    """Name, class and grey of each image file."""
    found = []
    for item in source.items():
        assert isinstance(item, ImageFile)
        found.append((item.name, item.label, int(decode_image(item.load(), GREY).pixels[0, 0, 0])))
    return found


def arrays_of(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    blocks = list(source.items())
    assert all(isinstance(block, ImageBlock) for block in blocks)
    images, labels = zip(*blocks, strict=True)
    return np.concatenate(images), None if labels[0] is None else np.concatenate(labels)


def read_all(source: Source) -> Iterator[None]:
    for _ in source.items():
        yield None


# Folders


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
            r"2 files, none an image \(.gz x1, .zip x1\); .*: archives inside are not opened: unpack them, or give one of them as SOURCE",
        ),
        (
            {"a.npz": b"", "b.txt": b""},
            r"2 files, none an image \(.npz x1, .txt x1\); .*: arrays inside are not opened: give the file of one as SOURCE",
        ),
        (
            {"data/train-00000.parquet": b""},
            r"1 file, none an image \(.parquet x1\); .*: tables are not read; save the images in them as PNG files, or as one",
        ),
        (
            {"index.json": b"", "shard-00000.u8": b""},
            r"2 files, .*: this is a packed data set already: train on it as it is",
        ),
        (
            {"1f3a": b"", "1f3b": b""},
            r"2 files, none an image \(no extension x2\); .*: images are known by their extension: rename them",
        ),
    ],
)
def test_a_folder_without_images(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "set").mkdir()
    write_folder(tmp_path / "set", files)
    with pytest.raises(DataError, match=f"{tmp_path}/set: {message}"):
        open_source(str(tmp_path / "set"))


HIDDEN = (
    ".ipynb_checkpoints/a.png", "cat/.git/a.png", ".Trash-1000/files/a.png", ".thumbnails/a.png", "cat/@eaDir/a.png", "@__thumb/a.png",
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


def test_a_source_of_hidden_images_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"1 file, none an image \(hidden x1\); expected .*; hidden and system folders are left out",
    ):
        open_source(str(write_folder(tmp_path / "set", {".git/a.png": grey_png(1)})))


def test_kinds_of_ignored_files_are_few(tmp_path: Path) -> None:
    """Numbers and addresses behind the last dot are not extensions: a million of them would fill the index and the screen."""
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
        match=r"14 files, among them 13 images of formats that are not read \(\.heic x12, \.cr2 x1\): convert them to PNG or JPEG",
    ):
        list(read_all(open_source(str(source))))


# Archives


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
    ],
)
def test_tar(tmp_path: Path, name: str, mode: str) -> None:
    path = write_tar(
        tmp_path / name,
        {f"./{name}": data for name, data in class_files(30).items()} | {"readme.md": b"x"},
        mode,
    )
    source = open_source(str(path))
    found = files_of(source)
    assert [grey for _, _, grey in found] == list(range(30))
    assert found[1] == (f"{path}!/dog/001.png", "dog", 1)
    assert (source.kind, source.ignored) == ("tar", {".md": 1})


def test_zip(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip",
        {"../../cats/0.png": grey_png(0), "__MACOSX/._0.png": b"x", "set/dogs/1.png": grey_png(1)},
    )
    source = open_source(str(path))
    assert files_of(source) == [
        (f"{path}!/../../cats/0.png", "cats", 0),
        (f"{path}!/set/dogs/1.png", "dogs", 1),
    ]
    assert source.ignored == {"hidden": 1}
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_zip_of_windows_has_the_classes_of_any_other(tmp_path: Path) -> None:
    files = {
        "cats/0.png": grey_png(0),
        "cats/": b"",
        "__MACOSX/cats/1.png": b"x",
        "set/dogs/1.png": grey_png(1),
        "notes.txt": b"",
    }
    expected = open_source(str(write_zip(tmp_path / "a.zip", files)))
    found = files_of(expected)
    source = open_source(
        str(
            write_zip(
                tmp_path / "a.zip", {name.replace("/", "\\"): data for name, data in files.items()}
            )
        )
    )
    assert (
        files_of(source)
        == found
        == [
            (f"{tmp_path}/a.zip!/cats/0.png", "cats", 0),
            (f"{tmp_path}/a.zip!/set/dogs/1.png", "dogs", 1),
        ]
    )
    assert source.ignored == expected.ignored == {"hidden": 1, ".txt": 1}


def test_a_symbolic_link_of_a_zip_is_counted_and_not_read(tmp_path: Path) -> None:
    """As of a tar: what the member holds is the path of another file."""
    path = write_zip(tmp_path / "a.zip", {"cat/1.png": grey_png(1), "dog/2.png": grey_png(2)})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("dog/3.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../cat/1.png")
    source = open_source(str(path))
    assert [(label, grey) for _, label, grey in files_of(source)] == [("cat", 1), ("dog", 2)]
    assert source.ignored == {"link": 1}


@pytest.mark.parametrize(
    ("method", "name"),
    [(9, "Deflate64"), (93, "Zstandard"), (98, "PPMd"), (77, "an unknown method")],
)
def test_a_compression_that_python_cannot_read_is_one_error(
    tmp_path: Path, method: int, name: str
) -> None:
    path = write_zip(
        tmp_path / "a.zip",
        {"a.txt": b"", "cat/1.png": grey_png(1), "cat/2.png": grey_png(2)},
        compression=0,
    )
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):  # local header and directory
        for found in re.finditer(re.escape(signature), path.read_bytes()):
            data[found.start() + place] = method
    path.write_bytes(data)
    with pytest.raises(
        DataError,
        match=rf"cat/1.png: is compressed with {name} \(number {method}\), which Python cannot read; unpack the archive and pack",
    ):
        list(read_all(open_source(str(path))))
    npz = write_zip(tmp_path / "a.npz", {"x.npy": npy_of_shape((1, 10, 10))}, compression=0)
    npz.write_bytes(
        npz.read_bytes()
        .replace(b"PK\3\4\x14\0\0\0\0", b"PK\3\4\x14\0\0\0\x09")
        .replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x09\0")
    )
    with pytest.raises(DataError, match="cannot be read as NumPy arrays"):
        open_source(str(npz))


def test_a_tar_of_the_older_lzma_format(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", class_files(5)).read_bytes()
    path = tmp_path / "a.tar.lzma"
    path.write_bytes(lzma.compress(tar, lzma.FORMAT_ALONE))
    assert [grey for _, _, grey in files_of(open_source(str(path)))] == list(range(5))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path}: the tar archive is damaged or cut short"):
        list(read_all(open_source(str(path))))


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\7", "RAR"),
        (b"\x28\xb5\x2f\xfd\x24", "Zstandard"),
        (b"\x04\x22\x4d\x18", "LZ4"),
        (b"LZIP\1", "lzip"),
    ],
)
@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.bin"])
def test_archives_that_are_not_read_are_named(
    tmp_path: Path, begin: bytes, kind: str, name: str
) -> None:
    (tmp_path / name).write_bytes(begin + bytes(600))
    with pytest.raises(
        DataError,
        match=f"{name}: is a {kind} archive, which is not read; unpack it and pack the folder",
    ):
        open_source(str(tmp_path / name))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_hard_links_of_a_tar_are_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, value in (("./data/0001", 1), ("./cat/2.png", 2)):
            member = tarfile.TarInfo(name)
            member.size = len(grey_png(value))
            archive.addfile(member, io.BytesIO(grey_png(value)))
        for name, target, kind in (
            ("./dog/a.png", "./data/0001", tarfile.LNKTYPE), ("./owl/b.png", "dog/a.png", tarfile.LNKTYPE),
            ("./dog/c.png", "./cat/2.png", tarfile.LNKTYPE), ("./dog/d.png", "./gone.png", tarfile.LNKTYPE),
            ("./dog/e.png", "../cat/2.png", tarfile.SYMTYPE),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    source = open_source(str(path))
    *whole, broken = source.items()
    assert [(item.name, item.label, decode_image(item.load(), GREY).pixels[0, 0, 0]) for item in whole if isinstance(item, ImageFile)] == [
        (f"{path}!/cat/2.png", "cat", 2), (f"{path}!/dog/a.png", "dog", 1), (f"{path}!/owl/b.png", "owl", 1), (f"{path}!/dog/c.png", "dog", 2),
    ]  # fmt: skip
    assert source.ignored == {"no extension": 1, "link": 1}
    assert isinstance(broken, ImageFile)
    assert broken.name == f"{path}!/dog/d.png"
    with pytest.raises(DataError, match=r"is a hard link to 'gone\.png', which the archive lacks"):
        broken.load()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_cut_anywhere_is_an_error(tmp_path: Path, mode: str) -> None:
    """Also between two members and inside a header, where Python's tarfile takes what it has for the whole."""
    files = {f"{number}.png": encoded(Image.effect_noise((16, 16), 60)) for number in range(20)}
    path = write_tar(tmp_path / "a.tar", files, mode)
    whole = path.read_bytes()
    for kept in {
        *range(len(whole) * 9 // 10, len(whole) - 10240, 511),
        len(whole) // 2,
        3 * 512,
        3 * 512 + 100,
        700,
        1024,
        10,
        0,
    }:
        path.write_bytes(whole[:kept])
        with pytest.raises(
            DataError, match=rf"{path}: (the tar archive is damaged or cut short|is empty)"
        ):
            list(read_all(open_source(str(path))))


def test_a_tar_with_a_damaged_header_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{number}.png": grey_png(number) for number in range(3)})
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="no file header and no end mark at byte 1,024"):
        list(read_all(open_source(str(path))))


def test_a_gzip_with_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tgz", class_files(3), "w:gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged or cut short \(CRC check failed"):
        list(read_all(open_source(str(path))))


@pytest.mark.parametrize("kept", [0, 10, 200, -1, -30])
def test_a_zip_cut_short_is_an_error(tmp_path: Path, kept: int) -> None:
    path = write_zip(tmp_path / "a.zip", class_files(3))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=f"{path}: the zip archive is damaged or cut short"):
        list(read_all(open_source(str(path))))


def test_a_zip_member_with_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": b"x" * 100}, compression=0)
    path.write_bytes(path.read_bytes().replace(b"x" * 100, b"x" * 99 + b"y"))
    (item,) = open_source(str(path)).items()
    assert isinstance(item, ImageFile)
    with pytest.raises(
        DataError,
        match=r"is damaged \(Bad CRC-32 for file 'a\.png'\); expected a whole zip archive",
    ):
        item.load()


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_an_archive_without_images(tmp_path: Path, write: object) -> None:
    path = write(tmp_path / "archive", {"a.txt": b"", "b.txt": b""})  # type: ignore[operator]
    with pytest.raises(DataError, match=rf"{path}: 2 files, none an image \(.txt x2\)"):
        list(read_all(open_source(str(path))))


# IDX


def test_idx_with_labels(tmp_path: Path) -> None:
    images, labels = numbered(5000, 7, 5)[..., 0], (np.arange(5000) % 10).astype(np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images), 1))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images[:9]))
    for uri in (tmp_path, tmp_path / "train-images-idx3-ubyte.gz"):
        source = open_source(str(uri))
        assert (source.kind, source.num_images) == ("idx", 5000)
        found_images, found_labels = arrays_of(source)
        assert np.array_equal(found_images[..., 0], images)
        assert np.array_equal(found_labels, labels)
    found_images, found_labels = arrays_of(open_source(str(tmp_path), split="test"))
    assert np.array_equal(found_images[..., 0], images[:9])
    assert found_labels is None


def test_idx_without_the_split_asked_for(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(numbered(3)[..., 0]))
    with pytest.raises(
        ConfigError, match="holds no IDX images of --split test; found train-images-idx3-ubyte"
    ):
        open_source(str(tmp_path), split="test")
    write_folder(tmp_path / "png", {"a.png": grey_png(1)})
    with pytest.raises(ConfigError, match="--split test does not apply to"):
        open_source(str(tmp_path / "png"), split="test")


@pytest.mark.parametrize("prefix", ["emnist-letters-", "qmnist-", ""])
def test_idx_by_the_names_of_emnist(tmp_path: Path, prefix: str) -> None:
    images = numbered(6, 7, 5)[..., 0]
    for split, end in (("train", 5), ("test", 3)):
        (tmp_path / f"{prefix}{split}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx(images[:end]))
        )
        (tmp_path / f"{prefix}{split}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx(np.arange(end, dtype=np.uint8)))
        )
    (tmp_path / f"{prefix}mapping.txt").write_text("0 48\n")
    (tmp_path / f"._{prefix}train-images-idx3-ubyte.gz").write_bytes(b"AppleDouble")
    for split, end in (("train", 5), ("test", 3)):
        found_images, found_labels = arrays_of(open_source(str(tmp_path), split=split))
        assert np.array_equal(found_images[..., 0], images[:end])
        assert np.array_equal(found_labels, np.arange(end))


def test_a_folder_of_several_idx_sets_asks_for_one(tmp_path: Path) -> None:
    for name in ("letters", "digits"):
        (tmp_path / f"emnist-{name}-train-images-idx3-ubyte").write_bytes(idx(numbered(3)[..., 0]))
    with pytest.raises(
        ConfigError,
        match="holds IDX images of emnist-digits, emnist-letters; expected one set: name its file",
    ):
        open_source(str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(numbered(4)[..., 0]))
    assert open_source(str(tmp_path)).num_images == 4


def test_idx_and_npy_files_of_any_name(tmp_path: Path) -> None:
    images, labels = numbered(6, 7, 5), np.arange(6, dtype=np.uint8) % 2
    folder = write_folder(
        tmp_path / "set", {"pictures.bin": gzip.compress(idx(images[..., 0])), "README": b"x"}
    )
    for uri in (folder, folder / "pictures.bin"):
        assert np.array_equal(arrays_of(open_source(str(uri)))[0], images)
    write_folder(folder, {"answers.bin": idx(labels)})
    found_images, found_labels = arrays_of(open_source(str(folder)))
    assert np.array_equal(found_images, images)
    assert np.array_equal(found_labels, labels)
    np.save(tmp_path / "a.npy", images)
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    source = open_source(str(tmp_path / "a.dat"))
    assert source.kind == "npy"
    assert np.array_equal(arrays_of(source)[0], images)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            idx(numbered(5)[..., 0])[:-1],
            r"ends after 29 bytes of values; expected 30 bytes of values for shape \[5, 2, 3, 1\]",
        ),
        (idx(numbered(5)[..., 0]) + b"x", "has bytes after its last value; expected 30 bytes"),
        (idx(numbered(5)[..., 0])[:9], "the IDX header is damaged or cut short"),
        (idx(np.arange(5, dtype=np.uint8)), r"values of shape \[5\]; expected images"),
        (gzip.compress(idx(numbered(900)[..., 0]), mtime=0)[:-20], "is damaged or cut short"),
        (gzip.compress(idx(numbered(9)[..., 0]), mtime=0)[:-8] + b"\0" * 8, "is damaged"),
    ],
)
def test_broken_idx(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{path}: {message}"):
        list(read_all(open_source(str(path))))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "shape", [(5, 2**31, 2**31), (2**32 - 1,) * 3, (2**32 - 1,) * 4, (2, 2**16, 2**16)]
)
def test_idx_of_absurd_shape(
    tmp_path: Path, shape: tuple[int, ...], compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(
        compress(bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + bytes(100))
    )
    with pytest.raises(
        DataError,
        match=rf"{path}: values of shape \[{shape[0]}, .*expected (at most 268,435,456 bytes|images)",
    ):
        list(read_all(open_source(str(path))))


def test_a_plain_idx_is_compared_with_its_size_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.idx"
    path.write_bytes(
        bytes([0, 0, 8, 3]) + np.array([2**32 - 1, 100, 100], ">u4").tobytes() + bytes(100)
    )
    with pytest.raises(
        DataError,
        match=f"{path}: ends after 100 bytes of values; expected 42,949,672,950,000 bytes",
    ):
        open_source(str(path))


def test_idx_with_too_few_labels(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(numbered(5)[..., 0]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(
        DataError,
        match=r"labels of shape \[4\]; expected \[5\], one for each image of train-images-idx3-ubyte",
    ):
        open_source(str(tmp_path))


# NumPy


@pytest.mark.parametrize("shape", [(700, 30, 40), (700, 30, 40, 1), (700, 30, 40, 3)])
def test_npy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "a.npy", images)
    found, labels = arrays_of(open_source(str(tmp_path / "a.npy")))
    assert np.array_equal(found.reshape(shape), images)
    assert labels is None


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("x_train", "y_train"), ("arr_0", "arr_1")]
)
def test_npz(tmp_path: Path, names: tuple[str, str], save: object) -> None:
    images, labels = numbered(900, 40, 40), np.arange(900)[:, None] % 7
    save(tmp_path / "a.npz", **{names[0]: images[..., 0], names[1]: labels, "x_test": images[:4]})  # type: ignore[operator]
    found_images, found_labels = arrays_of(open_source(str(tmp_path / "a.npz")))
    assert np.array_equal(found_images, images)
    assert np.array_equal(found_labels, labels[:, 0])
    assert np.array_equal(
        arrays_of(open_source(str(tmp_path / "a.npz"), split="test"))[0], images[:4]
    )


@pytest.mark.parametrize(
    "names",
    [("X", "y"), ("X_train", "Y_train"), ("image", "label"), ("imgs", "Labels"), ("faces", None)],
)
def test_npz_by_other_names(tmp_path: Path, names: tuple[str, str | None]) -> None:
    """In any case, and an array that is alone under any name."""
    images, labels = numbered(9, 5, 5)[..., 0], np.arange(9) % 4
    np.savez(tmp_path / "a.npz", **{names[0]: images} | ({names[1]: labels} if names[1] else {}))
    found_images, found_labels = arrays_of(open_source(str(tmp_path / "a.npz")))
    assert np.array_equal(found_images[..., 0], images)
    assert found_labels is None if names[1] is None else np.array_equal(found_labels, labels)


def test_npz_names_as_documented_come_first(tmp_path: Path) -> None:
    images = numbered(9, 5, 5)[..., 0]
    np.savez(tmp_path / "a.npz", X=images[:2], Images=images[:3], data=images, image=images[:4])
    assert open_source(str(tmp_path / "a.npz")).num_images == 9


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4, 4)), r"an array of float64, shape \[3, 4, 4\]; expected uint8"),
        (np.zeros((3, 4), np.uint8), r"values of shape \[3, 4\]; expected images"),
        (np.zeros((3, 4, 4, 2), np.uint8), r"values of shape \[3, 4, 4, 2\]; expected images"),
        (np.zeros((0, 4, 4), np.uint8), r"values of shape \[0, 4, 4, 1\]; expected images"),
        (
            np.asfortranarray(np.zeros((3, 4, 4), np.uint8)),
            "saved in Fortran order; expected C order",
        ),
        (np.array([{}, {}], object), "an array of object"),
    ],
)
def test_unsuitable_npy(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=f"{tmp_path}/a.npy: {message}"):
        open_source(str(tmp_path / "a.npy"))


@pytest.mark.parametrize("shape", [(48, 64, 3), (48, 64, 4), (3, 48, 64), (4, 48, 64)])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_one_photo_is_not_an_array_of_images(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    np.save(path, np.zeros(shape, np.uint8)) if kind == "npy" else np.savez(
        path, x=np.zeros(shape, np.uint8)
    )
    with pytest.raises(
        DataError,
        match=rf"values of shape \[{shape[0]}, .*, which may be one colour image; expected images \[N, H, W\] or \[N, H, W, 1 or 3\]",
    ):
        open_source(str(path))


def npy_of_shape(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + bytes(100)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 2**31, 2**31), "expected at most 268,435,456 bytes"),
        ((2**70, 2**70, 2**70), "expected at most 268,435,456 bytes"),
        ((-5, 4, 4), "expected images"),
        ((5, -4, -4), "expected images"),
        (
            (2**60, 8, 8),
            r"ends after 100 bytes of values; expected 73,786,976,294,838,206,464 bytes",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_numpy_of_absurd_shape(
    tmp_path: Path, shape: tuple[int, ...], message: str, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(npy_of_shape(shape))
    if kind == "npz":
        write_zip(path, {"x.npy": npy_of_shape(shape)})
    with pytest.raises(DataError, match=f"{path}: .*{message}"):
        open_source(str(path))


def test_numpy_labels_of_absurd_shape(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.npz",
        {"x.npy": npy_of_shape((100, 1, 1)), "y.npy": npy_of_shape((2**50,), "<i8")},
    )
    with pytest.raises(
        DataError,
        match=rf"{path}: labels of int64 and shape \[{2**50}\]; expected 100 whole numbers, one an image",
    ):
        open_source(str(path))
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_DEFLATED
    ) as archive:  # 64 MiB that are really there, in 64 KiB
        archive.writestr("x.npy", npy_of_shape((100, 1, 1)))
        archive.writestr("y.npy", npy_of_shape((64 << 20,)) + bytes((64 << 20) - 100))
    tracemalloc.start()
    try:
        with pytest.raises(
            DataError,
            match=r"labels of uint8 and shape \[67108864\]; expected 100 whole numbers, one an image",
        ):
            open_source(str(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_broken_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "cut.npy", numbered(9))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"cut.npy: ends after 53 bytes of values; expected 54"):
        list(read_all(open_source(str(tmp_path / "cut.npy"))))
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    for name in ("text.npy", "text.npz"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as NumPy arrays"):
            open_source(str(tmp_path / name))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3), biases=np.zeros(3))
    with pytest.raises(
        DataError,
        match="holds the arrays weights, biases; expected images named x_train, train_images, images",
    ):
        open_source(str(tmp_path / "other.npz"))
    np.savez(tmp_path / "labels.npz", x=numbered(3), y=np.zeros(4, int))
    with pytest.raises(
        DataError, match=r"labels of int64 and shape \[4\]; expected 3 whole numbers"
    ):
        open_source(str(tmp_path / "labels.npz"))


# The rest


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("nowhere", DataError, "nowhere: no such file or folder; expected a folder, tar or zip"),
        (
            "keras:imagenet",
            ConfigError,
            "keras:imagenet: unknown data set; expected one of keras:fashion_mnist",
        ),
        (
            "synthetic:faces",
            ConfigError,
            "synthetic:faces: unknown synthetic images; expected synthetic:garments",
        ),
        ("synthetic:garments:0", ConfigError, "synthetic:garments:0: unknown"),
        ("ftp://host/x", ConfigError, "unknown scheme"),
        ("", ConfigError, "SOURCE is empty; expected a folder.*is a shell variable unset"),
        (" ", ConfigError, "SOURCE is empty"),
        ("file://", ConfigError, "file://: a file URI needs an absolute path"),
        ("file://here", ConfigError, "file://here: a file URI needs an absolute path"),
    ],
)
def test_unknown_sources(uri: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_source(uri)


def test_a_file_of_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 ....")
    with pytest.raises(
        DataError,
        match=r"a.pdf: a file of unknown kind \(it begins with b'%PDF-1.7 ...'\); expected a folder",
    ):
        open_source(str(tmp_path / "a.pdf"))


def test_one_image_is_not_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(b"\x89PNG\r\n\x1a\n....")
    with pytest.raises(
        DataError, match=r"a.PNG: is one image; expected many: give the folder it is in"
    ):
        open_source(str(tmp_path / "a.PNG"))


@pytest.mark.parametrize(
    "name", ["train.csv", "train-00000-of-00001.parquet", "faces.H5", "train_32x32.mat"]
)
def test_a_table_is_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"label,pixel1\n")
    with pytest.raises(
        DataError,
        match=f"{name}: tables are not read; save the images in them as PNG files, or as one uint8 array",
    ):
        open_source(str(tmp_path / name))


def test_an_array_with_the_channels_first(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 3, 16, 16), np.uint8))
    with pytest.raises(
        DataError,
        match=r"shape \[5, 3, 16, 16\]; expected .*: move the channels to the end with np.moveaxis\(array, 1, -1\)",
    ):
        open_source(str(tmp_path / "a.npy"))


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


@pytest.mark.parametrize("name", ["pipe", "pipe.npy", "pipe.zip", "train-images-idx3-ubyte.gz"])
def test_a_pipe_is_refused(tmp_path: Path, name: str) -> None:
    """And not waited for; the process of its own is there to be given up on."""
    os.mkfifo(tmp_path / name)
    program = (
        "import sys; from job.sources.open_source import open_source; open_source(sys.argv[1])"
    )
    for uri, message in (
        (tmp_path / name, f"{tmp_path / name}: is a pipe, a socket or a device"),
        (tmp_path, "is empty; expected PNG"),
    ):
        result = subprocess.run(
            [sys.executable, "-c", program, uri],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        assert message in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(
        DataError, match=f"{device}: is a pipe, a socket or a device; expected a folder"
    ):
        open_source(device)


@pytest.mark.parametrize("size", [(1024, 1024), (4096, 4096)])
def test_images_are_enlarged_a_few_at_a_time(tmp_path: Path, size: tuple[int, int]) -> None:
    write_folder(tmp_path / "set", class_files(12))
    np.savez(tmp_path / "a.npz", x=numbered(12), y=np.arange(12))
    policy = ImagePolicy(size, 3)
    most = max(8 << 20, size[0] * size[1] * 3)
    num_files, labels = 0, []
    for decoded in decode_all(open_source(str(tmp_path / "set")).items(), policy, 1, "set"):
        assert isinstance(decoded, list)
        num_files += len(decoded)
        assert sum(file.pixels.nbytes for file in decoded if file.pixels is not None) <= most
    for decoded in decode_all(open_source(str(tmp_path / "a.npz")).items(), policy, 1, "a.npz"):
        assert isinstance(decoded, ImageBlock)
        assert decoded.images.nbytes <= most
        assert decoded.labels is not None
        labels += decoded.labels.tolist()
    assert (num_files, labels) == (12, list(range(12)))


def test_large_files_of_an_archive_wait_a_few_at_a_time() -> None:
    """An archive is read ahead of the threads that decode: 33 files of 300 MiB would wait for 16 of them."""
    taken = []

    def items() -> Iterator[ImageFile]:
        for number in range(40):
            taken.append(number)
            yield ImageFile(f"{number}.png", None, 300 << 20, lambda: grey_png(1))

    decoded = decode_all(items(), GREY, 16, "a.zip")
    names = [file.name for file in next(decoded)]
    assert len(taken) <= 3
    names += [file.name for files in decoded for file in files]
    assert names == [f"{number}.png" for number in range(40)]


def test_garments_are_counted_and_labelled() -> None:
    source = open_source("synthetic:garments:1203", seed=4)
    images, labels = arrays_of(source)
    assert images.shape == (1203, 28, 28, 1)
    assert labels is not None
    assert source.class_names is not None
    assert source.class_names[labels[1202]] == "pullover"


def test_canonical_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical_uri("a/../b") == canonical_uri(f"file://{tmp_path}/b") == str(tmp_path / "b")
    assert canonical_uri("s3://bucket/x") == "s3://bucket/x"
    assert canonical_uri("keras:mnist") == "keras:mnist"
