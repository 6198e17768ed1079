"""The source that a URI opens, and the error for every other URI."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from job.config.errors import ConfigError, DataError
from job.sources.open_source import canonical_uri, open_source
from tests.data.samples import (
    grey_png,
    numbered,
    write_folder,
)
from tests.sources.reading import arrays_of

ROOT = Path(__file__).parents[2]


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
        match=r"a.pdf: a file of unknown kind \(it begins with b'%PDF-1.7 ...'\); expected a "
        "folder",
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
        match=f"{name}: tables are not read; save the images in them as PNG files, or as one "
        "uint8 array",
    ):
        open_source(str(tmp_path / name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pipe", "pipe.npy", "pipe.zip", "train-images-idx3-ubyte.gz"])
def test_a_pipe_is_refused(tmp_path: Path, name: str) -> None:
    """And not waited for: a process can be ended that waits all the same."""
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


def test_canonical_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical_uri("a/../b") == canonical_uri(f"file://{tmp_path}/b") == str(tmp_path / "b")
    assert canonical_uri("s3://bucket/x") == "s3://bucket/x"
    assert canonical_uri("keras:mnist") == "keras:mnist"


def test_a_split_is_refused_for_a_source_without_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "png", {"a.png": grey_png(1)})
    with pytest.raises(ConfigError, match="--split test does not apply to"):
        open_source(str(tmp_path / "png"), split="test")


def test_an_npy_file_of_any_name(tmp_path: Path) -> None:
    images = numbered(6, 7, 5)
    np.save(tmp_path / "a.npy", images)
    (tmp_path / "a.npy").rename(tmp_path / "a.dat")
    source = open_source(str(tmp_path / "a.dat"))
    assert source.kind == "npy"
    assert np.array_equal(arrays_of(source)[0], images)
