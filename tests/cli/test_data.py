"""``dcgan-train data`` from the command line: options, messages and exit codes."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from job.cli.data import data
from job.cli.main import run_command
from job.config.errors import DcganError
from job.data.index import read_index
from job.storage.uri import open_store
from tests.data.samples import class_files, encoded, numbered, write_folder, write_zip
from tests.servers.s3 import S3Server


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data, [str(argument) for argument in arguments])


def error_of(result: Result) -> DcganError:
    assert isinstance(result.exception, DcganError), result.output
    return result.exception


def test_pack_and_verify(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "set", class_files(40) | {"notes.txt": b"", "cat/bad.png": b""}
    )
    options = (
        "--size",
        "6x8",
        "--channels",
        3,
        "--fit",
        "pad",
        "--seed",
        5,
        "--shard-bytes",
        "2KiB",
        "--skip-bad",
        "--workers",
        2,
        "--tmp",
        tmp_path,
    )
    result = run("pack", folder, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("Packed: 40 images 6x8x3, 3 classes, 3 shards, 0.0 MB, fingerprint ")
    assert lines[1] == (
        f"Skipped 1 broken image, listed in index.json; the first: {folder}/cat/bad.png: "
        "is empty (0 bytes); expected a PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF image"
    )
    assert lines[2] == "Ignored 1 file not read as images (.txt x1)"
    again = run("pack", folder, tmp_path / "out", *options)
    assert (again.exit_code, again.output.splitlines()) == (
        0,
        [lines[0].replace("Packed", "Already packed")],
    )
    verified = run("verify", tmp_path / "out")
    assert (verified.exit_code, verified.output.splitlines()) == (
        0,
        [lines[0].replace("Packed", "Whole")],
    )


def test_verify_names_damage_and_ends_with_5(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(100))
    run("pack", tmp_path / "a.npy", tmp_path / "out", "--shard-bytes", "120")
    (tmp_path / "out" / "shard-00001.u8").unlink()
    (tmp_path / "out" / "shard-00003.u8").write_bytes(b"x")
    result = run("verify", tmp_path / "out")
    assert result.output.splitlines() == [
        f"file://{tmp_path}/out/shard-00001.u8: missing; expected 120 bytes",
        f"file://{tmp_path}/out/shard-00003.u8: is 1 bytes; expected 120",
    ]
    assert error_of(result).exit_code == 5
    assert "2 damaged or missing files" in str(result.exception)


def test_verify_without_an_index(tmp_path: Path) -> None:
    error = error_of(run("verify", tmp_path))
    assert (error.exit_code, "index.json: not found" in str(error)) == (5, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--size", "64x"],
            "'64x' is not an image size; expected one number (64) or height x width (48x64)",
        ),
        (["--size", "0"], "'0' is not an image size"),
        (["--size", "99999"], "'99999' is too large an image size; expected at most 4096 a side"),
        (["--size", "64x4097"], "'64x4097' is too large an image size"),
        (
            ["--shard-bytes", "64XB"],
            "'64XB' is not a number of bytes; expected for example 64MiB, 1GB or 67108864",
        ),
        (["--shard-bytes", "0"], "'0' is not a number of bytes"),
        (["--channels", "2"], "'2' is not one of '1', '3'"),
        (["--fit", "squeeze"], "'squeeze' is not one of 'crop', 'pad', 'stretch', 'exact'"),
        (["--limit", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_options_end_with_2(tmp_path: Path, options: list[str], message: str) -> None:
    result = run("pack", "synthetic:garments:10", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("1", 1),
        ("64MiB", 64 << 20),
        ("1GB", 10**9),
        ("1.5kb", 1500),
        ("2 KiB", 2048),
        ("3M", 3 * 10**6),
        ("3 apples", None),
    ],
)
def test_byte_sizes(tmp_path: Path, text: str, num_bytes: int | None) -> None:
    result = run("pack", "synthetic:garments:10", tmp_path / "out", "--shard-bytes", text)
    if num_bytes is None:
        assert result.exit_code == 2
    else:
        assert read_index(open_store(str(tmp_path / "out"))).options.shard_bytes == num_bytes


@pytest.mark.parametrize(
    "arguments",
    [("pack", "", "out"), ("pack", "set", ""), ("verify", ""), ("pack", "file://", "out")],
)
def test_an_empty_argument_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    write_folder(tmp_path / "set", class_files(3))
    monkeypatch.chdir(tmp_path)
    error = error_of(run(*arguments))
    assert error.exit_code == 2
    assert "is empty; expected" in str(
        error
    ) or "file://: a file URI needs an absolute path" in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_destination_in_use_ends_with_2(tmp_path: Path) -> None:
    run("pack", "synthetic:garments:10", tmp_path / "out")
    assert (
        error_of(run("pack", "synthetic:garments:10", tmp_path / "out", "--seed", 1)).exit_code == 2
    )


@pytest.mark.slow
def test_a_bomb_in_a_zip_ends_with_5_and_its_name(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "set.zip",
        class_files(3) | {"cat/bomb.png": encoded(Image.new("1", (20_000, 20_000)))},
    )
    error = error_of(run("pack", path, tmp_path / "out"))
    assert error.exit_code == 5
    assert f"{path}!/cat/bomb.png: is a decompression bomb? Image size (400000000 pixels)" in str(
        error
    )


@pytest.mark.s3
def test_from_s3_to_s3(tmp_path: Path, s3_env: S3Server) -> None:
    bucket = s3_env.new_bucket()
    images = open_store(f"s3://{bucket}/photos")
    for name, content in (class_files(20) | {"notes.txt": b""}).items():
        images.write(name, content)
    result = run(
        "pack",
        f"s3://{bucket}/photos",
        f"s3://{bucket}/packed",
        "--shard-bytes",
        "100",
        "--endpoint-url",
        s3_env.endpoint_url,
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Packed: 20 images 4x4x1, 3 classes, 4 shards")
    assert "Ignored 1 file not read as images" in result.output
    assert run(
        "pack", f"s3://{bucket}/photos", f"s3://{bucket}/packed", "--shard-bytes", "100"
    ).output.startswith("Already packed")
    images.write("cat/000.png", images.read("cat/000.png")[:-1] + b"x")
    changed = error_of(
        run("pack", f"s3://{bucket}/photos", f"s3://{bucket}/packed", "--shard-bytes", "100")
    )
    assert (changed.exit_code, "before that was changed: still" in str(changed)) == (2, True)
    local = run(
        "pack",
        write_folder(tmp_path / "photos", class_files(20)),
        tmp_path / "packed",
        "--shard-bytes",
        "100",
    )
    assert (
        local.output.split("fingerprint ")[1].split()[0] in result.output
    )  # the same images from a folder: the same shards

    store = open_store(f"s3://{bucket}/packed")
    index = read_index(store)
    remote = [store.read(shard.name) for shard in index.shards]
    assert [(tmp_path / "packed" / shard.name).read_bytes() for shard in index.shards] == remote

    assert run("verify", f"s3://{bucket}/packed").exit_code == 0
    store.delete("shard-00002.labels.i32")
    damaged = run("verify", f"s3://{bucket}/packed")
    assert damaged.output.splitlines() == [
        f"s3://{bucket}/packed/shard-00002.labels.i32: missing; expected 24 bytes"
    ]


@pytest.mark.s3
def test_a_broken_image_on_s3_is_named_and_nothing_is_left(s3_env: S3Server) -> None:
    bucket = s3_env.new_bucket()
    open_store(f"s3://{bucket}/photos").write("cat/1.png", b"no image")
    error = error_of(run("pack", f"s3://{bucket}/photos", f"s3://{bucket}/packed"))
    assert error.exit_code == 5
    assert str(error).startswith(f"s3://{bucket}/photos/cat/1.png: is not a PNG")
    assert list(open_store(f"s3://{bucket}/packed").list()) == []
    assert error_of(run("pack", f"s3://{bucket}/empty", f"s3://{bucket}/packed")).exit_code == 5
    assert (
        error_of(run("pack", f"s3://{bucket}/photos", f"s3://{bucket}-missing/packed")).exit_code
        == 3
    )


def test_a_folder_that_was_never_packed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["data", "verify", str(tmp_path)]) == 5
    said = capsys.readouterr().err
    assert said.endswith(
        ": correct the path, or pack images with `dcgan-train data pack SOURCE DEST`\n"
    )
    assert "again" not in said
