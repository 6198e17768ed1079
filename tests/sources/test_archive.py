"""Archives: images of every tar and zip in order, and errors for all that is damaged."""

import io
import lzma
import re
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from job.config.errors import DataError
from job.sources.open_source import open_source
from job.sources.source import ImageFile
from tests.data.samples import (
    class_files,
    encoded,
    grey_png,
    write_tar,
    write_zip,
)
from tests.sources.reading import file_of, files_of, read_all


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
    assert [item.load() for item in source.items()] == list(class_files(30).values())


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


def test_a_zip_written_on_windows_has_the_same_classes(tmp_path: Path) -> None:
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
        match=rf"cat/1.png: is compressed with {name} \(number {method}\), which Python "
        "cannot read; unpack the archive and pack",
    ):
        list(read_all(open_source(str(path))))


def test_a_tar_of_the_older_lzma_format(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "a.tar", class_files(5)).read_bytes()
    path = tmp_path / "a.tar.lzma"
    path.write_bytes(lzma.compress(tar, lzma.FORMAT_ALONE))
    assert [grey for _, _, grey in files_of(open_source(str(path)))] == list(range(5))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path}: the tar archive is damaged or cut short"):
        list(read_all(open_source(str(path))))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_hard_links_of_a_tar_are_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, value in (("./data/0001", 1), ("./cat/2.png", 2)):
            member = tarfile.TarInfo(name)
            member.size = len(grey_png(value))
            archive.addfile(member, io.BytesIO(grey_png(value)))
        for name, target, kind in (
            ("./dog/a.png", "./data/0001", tarfile.LNKTYPE),
            ("./owl/b.png", "dog/a.png", tarfile.LNKTYPE),
            ("./dog/c.png", "./cat/2.png", tarfile.LNKTYPE),
            ("./dog/d.png", "./gone.png", tarfile.LNKTYPE),
            ("./dog/e.png", "../cat/2.png", tarfile.SYMTYPE),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    source = open_source(str(path))
    *whole, broken = source.items()
    assert [file_of(item) for item in whole] == [
        (f"{path}!/cat/2.png", "cat", 2), (f"{path}!/dog/a.png", "dog", 1),
        (f"{path}!/owl/b.png", "owl", 1), (f"{path}!/dog/c.png", "dog", 2),
    ]  # fmt: skip
    assert source.ignored == {"no extension": 1, "link": 1}
    assert isinstance(broken, ImageFile)
    assert broken.name == f"{path}!/dog/d.png"
    with pytest.raises(DataError, match=r"is a hard link to 'gone\.png', which the archive lacks"):
        broken.load()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_cut_anywhere_is_an_error(tmp_path: Path, mode: str) -> None:
    """Also between members and inside a header, where Python's tarfile reports a whole archive."""
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
