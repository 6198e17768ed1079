"""Rows of a source: sizes, channels, limits, broken images and progress."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.config.errors import DataError
from job.data.index import PackSettings
from job.packing.pack import PackJob, pack
from job.packing.rows import Progress
from tests.data.samples import (
    class_files,
    encoded,
    grey_png,
    numbered,
    numbers,
    packed_index,
    packed_rows,
    write_folder,
    write_tar,
    write_zip,
)


def test_channels_follow_the_images(tmp_path: Path) -> None:
    grey = {f"{n}.png": grey_png(n) for n in range(5)}
    index = packed_index(write_folder(tmp_path / "grey", grey), tmp_path / "1")
    assert index.image_shape == (4, 4, 1)
    assert sorted(packed_rows(tmp_path / "1", index)[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 4]
    colour = grey | {"z.png": encoded(Image.new("RGB", (4, 4), (1, 2, 3)))}
    index = packed_index(write_folder(tmp_path / "colour", colour), tmp_path / "3")
    assert index.image_shape == (4, 4, 3)
    assert [1, 2, 3] in packed_rows(tmp_path / "3", index)[:, 0, 0].tolist()
    assert packed_index(tmp_path / "colour", tmp_path / "as-grey", channels=1).image_shape == (
        4,
        4,
        1,
    )
    assert packed_index(tmp_path / "grey", tmp_path / "as-colour", channels=3).image_shape == (
        4,
        4,
        3,
    )


def test_arrays_are_resized_and_coloured(images_file: Path, tmp_path: Path) -> None:
    assert packed_index(
        images_file, tmp_path / "out", size="8x6", channels=3, limit=10
    ).image_shape == (8, 6, 3)


def test_more_rows_than_are_kept_in_memory(tmp_path: Path) -> None:
    images = np.zeros((50, 512, 512), np.uint8)  # 13 MB: blocks of 16, of which the buffer takes 31
    images[:, 1, 1] = images[:, -1, -1] = range(50)
    np.save(tmp_path / "a.npy", images)
    index = packed_index(tmp_path / "a.npy", tmp_path / "out")
    rows = packed_rows(tmp_path / "out", index)[..., 0]
    assert (rows[np.argsort(rows[:, 1, 1])] == images).all()


def test_sizes_that_differ_ask_for_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": grey_png(1), "b.png": grey_png(1, (5, 7))})
    with pytest.raises(
        DataError,
        match=f"{folder}/b.png: is 7x5, but {folder}/a.png is 4x4; expected images of one "
        "size: pass --size",
    ):
        packed_index(folder, tmp_path / "out", skip_bad=True)
    assert packed_index(folder, tmp_path / "out", size="6x6").image_shape == (6, 6, 1)


def test_exact_refuses_or_skips_other_sizes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": grey_png(1), "b.png": grey_png(1, (5, 7))})
    with pytest.raises(DataError, match=f"{folder}/b.png: is 7x5; expected exactly 4x4"):
        packed_index(folder, tmp_path / "out", size="4x4", fit="exact")
    assert (
        packed_index(
            folder, tmp_path / "out", size="4x4", fit="exact", skip_bad=True
        ).source.num_skipped
        == 1
    )
    np.save(tmp_path / "a.npy", numbered(5))
    with pytest.raises(DataError, match=rf"{tmp_path}/a.npy: is 2x3; expected exactly 4x4"):
        packed_index(tmp_path / "a.npy", tmp_path / "npy", size="4x4", fit="exact")


@pytest.mark.parametrize("limit", [1, 7, 3000, 9999])
def test_limit(images_file: Path, tmp_path: Path, limit: int) -> None:
    index = packed_index(images_file, tmp_path / "out", limit=limit)
    assert sorted(numbers(packed_rows(tmp_path / "out", index)).tolist()) == list(
        range(min(limit, 3000))
    )
    folder = write_folder(tmp_path / "set", class_files(9))
    assert packed_index(folder, tmp_path / "files", limit=limit).num_rows == min(limit, 9)


def test_a_damaged_member_of_a_zip_is_named_or_skipped(tmp_path: Path) -> None:
    files = class_files(30) | {"dog/bad.png": b"x" * 100}
    path = write_zip(tmp_path / "set.zip", files, compression=0)
    path.write_bytes(path.read_bytes().replace(b"x" * 100, b"x" * 99 + b"y"))
    with pytest.raises(
        DataError, match=rf"^{path}!/dog/bad.png: is damaged \(Bad CRC-32 .*--skip-bad"
    ):
        packed_index(path, tmp_path / "out")
    index = packed_index(path, tmp_path / "out", skip_bad=True)
    assert (index.num_rows, index.source.num_read, index.source.num_skipped) == (30, 31, 1)
    assert index.source.skipped[0].name == f"{path}!/dog/bad.png"


ROOT = Path(__file__).parents[2]
BROKEN = {
    "empty.png": (b"", r"is empty \(0 bytes\)"),
    "text.png": (
        b"hello world, not an image",
        "is not a PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF image",
    ),
    "cut.jpg": (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:700], "is damaged"),
    "bomb.png": (encoded(Image.new("1", (20_000, 20_000))), "is a decompression bomb"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_a_broken_image_is_named_or_skipped(tmp_path: Path, name: str, kind: str) -> None:
    data, message = BROKEN[name]
    files = class_files(30) | {f"dog/{name}": data}
    source, separator = {
        "folder": lambda: (write_folder(tmp_path / "set", files), "/"),
        "tar": lambda: (write_tar(tmp_path / "set.tar.gz", files, "w:gz"), "!/"),
        "zip": lambda: (write_zip(tmp_path / "set.zip", files), "!/"),
    }[kind]()
    with pytest.raises(
        DataError, match=f"^{source}{separator}dog/{name}: .*{message}.*--skip-bad"
    ) as caught:
        packed_index(source, tmp_path / "out")
    assert caught.value.exit_code == 5
    assert not (tmp_path / "out").exists()
    index = packed_index(source, tmp_path / "out", skip_bad=True)
    assert (index.num_rows, index.source.num_read, index.source.num_skipped) == (30, 31, 1)
    assert index.source.skipped[0].name == f"{source}{separator}dog/{name}"


def test_many_skipped_images_are_counted_but_not_all_named(tmp_path: Path) -> None:
    files = {f"{n:03d}.png": b"" for n in range(150)} | {"good.png": grey_png(1)}
    index = packed_index(write_folder(tmp_path / "set", files), tmp_path / "out", skip_bad=True)
    assert (index.source.num_skipped, len(index.source.skipped)) == (150, 100)
    del files["good.png"]
    (tmp_path / "set" / "good.png").unlink()
    with pytest.raises(
        DataError,
        match=r"no image could be packed, 150 were skipped; the first: .*000.png: is empty",
    ):
        packed_index(tmp_path / "set", tmp_path / "none", skip_bad=True)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", class_files(3))
    (folder / "cat" / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"cat/gone.png: cannot be read \(No such file or directory\)"
    ):
        packed_index(folder, tmp_path / "out")


@pytest.mark.slow
def test_a_folder_that_cannot_be_listed_is_named_or_skipped(tmp_path: Path) -> None:
    """As a user without rights: root may list any folder, so it drops that right with setpriv."""
    folder = write_folder(tmp_path / "set", class_files(3) | {"cat/closed/a.png": grey_png(9)})
    program = (
        "import sys; from job.data.index import PackSettings\n"
        "from job.packing.pack import PackJob, pack\n"
        "settings = PackSettings(skip_bad=len(sys.argv) > 3)\n"
        "index = pack(PackJob(sys.argv[1], sys.argv[2], settings)).index\n"
        "source = index.source\n"
        "print(index.num_rows, source.num_read, source.num_skipped, source.skipped)\n"
    )
    without_rights = (
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    )
    command = [*without_rights, sys.executable, "-c", program, str(folder), str(tmp_path / "out")]
    (folder / "cat" / "closed").chmod(0)
    try:
        refused, packed = (
            subprocess.run(
                [*command, *options],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            for options in ([], ["--skip-bad"])
        )
    finally:
        (folder / "cat" / "closed").chmod(0o700)
    problem = (
        "cannot be listed (Permission denied); expected a folder of images that this user may read"
    )
    assert f"DataError: {folder}/cat/closed: {problem}" in refused.stderr
    assert (
        packed.stdout == f"3 4 1 (SkippedImage(name='{folder}/cat/closed', reason='{problem}'),)\n"
    ), packed.stderr


def test_progress_goes_up_to_the_whole(images_file: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    pack(PackJob(str(images_file), str(tmp_path / "out"), PackSettings()), steps.append)
    assert steps[-1] == Progress("write", 3000, 3000)
    assert Progress("read", 3000, 3000) in steps
