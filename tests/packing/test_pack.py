"""Packing: every image once, the same shuffle on any number of threads, in bounded memory."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from job.config.errors import ConfigError, DataError, StorageError
from job.data.index import ImageClass, PackSettings, read_index, write_index
from job.data.verify import verify
from job.packing.pack import PackJob, pack
from job.packing.rows import Progress
from job.storage.uri import open_store
from tests.data.peak_memory import number_printed_by
from tests.data.samples import (
    class_files,
    encoded,
    grey_png,
    idx,
    numbered,
    numbers,
    packed_index,
    packed_labels,
    packed_rows,
    write_folder,
    write_zip,
)

ROOT = Path(__file__).parents[2]


def test_every_image_comes_out_once_with_its_label(images_file: Path, tmp_path: Path) -> None:
    index = packed_index(images_file, tmp_path / "out", shard_bytes=6 * 700)
    rows, labels = packed_rows(tmp_path / "out", index), packed_labels(tmp_path / "out", index)
    assert [shard.num_rows for shard in index.shards] == [700, 700, 700, 700, 200]
    assert index.image_shape == (2, 3, 1)
    assert np.array_equal(np.sort(numbers(rows)), np.arange(3000))
    assert np.array_equal(rows, numbered(3000)[numbers(rows)])
    assert np.array_equal(labels, numbers(rows) % 5)
    assert index.classes == tuple(ImageClass(str(label), 600) for label in range(5))
    assert (index.source.kind, index.source.num_read, index.source.num_skipped) == ("npz", 3000, 0)


def test_the_shuffle_is_thorough(images_file: Path, tmp_path: Path) -> None:
    rows = numbers(packed_rows(tmp_path / "out", packed_index(images_file, tmp_path / "out")))
    assert abs(np.corrcoef(rows, np.arange(3000))[0, 1]) < 0.06
    assert np.mean(np.abs(np.diff(rows)) < 10) < 0.02  # few neighbours in the source still are
    for part in rows.reshape(10, 300):
        assert abs(part.mean() - 1500) < 250  # any slice is a sample of the whole


@pytest.mark.slow
def test_the_result_depends_on_content_settings_and_seed_alone(
    images_file: Path, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "folder", class_files(200))
    for source in (images_file, folder):
        prints = [
            packed_index(source, tmp_path / f"{source.name}-{n}", n, size="3x3").fingerprint
            for n in (1, 2, 5)
        ]
        assert len(set(prints)) == 1
        assert (
            packed_index(source, tmp_path / f"{source.name}-seed", size="3x3", seed=1).fingerprint
            != prints[0]
        )


def test_packing_again_is_quick_and_changes_nothing(images_file: Path, tmp_path: Path) -> None:
    job = PackJob(str(images_file), str(tmp_path / "out"), PackSettings())
    assert not pack(job).was_packed
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = pack(job)
    assert again.was_packed
    assert again.index == read_index(open_store(str(tmp_path / "out")))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_another_data_set_at_the_destination_is_refused(images_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed_index(images_file, out)
    with pytest.raises(
        ConfigError,
        match=f"file://{out} holds a data set packed from the same source with seed 0, not "
        "1; choose another DEST",
    ):
        packed_index(images_file, out, seed=1)
    folder = write_folder(tmp_path / "set", class_files(3))
    with pytest.raises(
        ConfigError,
        match=f"holds a data set packed from {images_file}; expected an empty DEST to pack "
        f"{folder}",
    ):
        packed_index(folder, out)
    np.savez(images_file, x=numbered(30))
    with pytest.raises(
        ConfigError, match=r"was packed from .* when that had [\d,]+ bytes; found [\d,]+ now"
    ):
        packed_index(images_file, out)
    (out / "index.json").write_text("{")
    with pytest.raises(ConfigError, match="holds a data set already, with a damaged index"):
        packed_index(images_file, out)


def change_array(path: Path) -> Path:
    np.save(path / "a.npy", numbered(30)[::-1] if (path / "a.npy").exists() else numbered(30))
    return path / "a.npy"


def change_idx_labels(path: Path) -> Path:
    labels = np.arange(30, dtype=np.uint8) % (
        3 if (path / "train-labels-idx1-ubyte").exists() else 2
    )
    return write_folder(
        path,
        {
            "train-images-idx3-ubyte": idx(numbered(30)[..., 0]),
            "train-labels-idx1-ubyte": idx(labels),
        },
    )


def change_image(path: Path) -> Path:
    value = 9 if (path / "set/cat/1.bmp").exists() else 8
    return write_folder(path / "set", {"cat/1.bmp": encoded(Image.new("L", (4, 4), value), "BMP")})


def change_name(path: Path) -> Path:
    if (path / "set/dog/1.png").exists():
        (path / "set/dog").rename(path / "set/cat")
        return path / "set"
    return write_folder(path / "set", {"dog/1.png": grey_png(1), "owl/2.png": grey_png(2)})


def change_zip(path: Path) -> Path:
    return write_zip(
        path / "a.zip", {"a.png": grey_png(1 if (path / "a.zip").exists() else 2)}, compression=0
    )


@pytest.mark.parametrize(
    "change", [change_array, change_idx_labels, change_image, change_name, change_zip]
)
def test_a_source_that_changed_within_its_size_is_refused(
    tmp_path: Path, change: Callable[[Path], Path]
) -> None:
    source, out = change(tmp_path), tmp_path / "out"
    job = PackJob(str(source), str(out), PackSettings())
    num_bytes = pack(job).index.source.num_bytes
    assert pack(job).was_packed
    change(tmp_path)
    expected = (
        rf"file://{out} was packed from {source} before that was changed: "
        rf"still {num_bytes:,} bytes, but files were written, renamed or replaced since: "
        "choose another DEST"
    )
    with pytest.raises(ConfigError, match=expected):
        pack(job)


def test_a_destination_of_an_earlier_version_is_recognized(
    images_file: Path, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "out"))
    index = packed_index(images_file, tmp_path / "out")
    write_index(store, replace(index, source=replace(index.source, signature=None)))
    assert pack(PackJob(str(images_file), str(tmp_path / "out"), PackSettings())).was_packed


def test_a_failure_while_shards_are_written_leaves_nothing(
    images_file: Path, tmp_path: Path
) -> None:
    def fail(progress: Progress) -> None:
        if progress.phase == "write" and progress.done > 1000:
            assert list((tmp_path / "out").glob("shard-*"))  # some are there already
            raise KeyboardInterrupt

    job = PackJob(
        str(images_file), str(tmp_path / "out"), PackSettings(shard_bytes=600), tmp=tmp_path
    )
    with pytest.raises(KeyboardInterrupt):
        pack(job, fail)
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npz"]


def test_shards_of_a_killed_packing_are_removed(images_file: Path, tmp_path: Path) -> None:
    leftovers = {
        "shard-00000.u8": b"old",
        "shard-00007.u8": b"old",
        "shard-00007.labels.i32": b"old",
    }
    out = write_folder(
        tmp_path / "out", leftovers | {"shard-notes.txt": b"notes", "index.json.packing": b""}
    )
    index = packed_index(images_file, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "croissant.json",
        "index.json",
        "shard-00000.labels.i32",
        "shard-00000.u8",
        "shard-notes.txt",
    ]
    assert verify(open_store(str(out)), index) == []


def test_unfinished_files_of_a_killed_packing_are_removed(
    images_file: Path, tmp_path: Path
) -> None:
    program = (
        "import os, signal, sys; from job.data.index import PackSettings\n"
        "from job.packing.pack import PackJob, pack\n"
        "def kill(source, target): os.kill(os.getpid(), signal.SIGKILL)\n"
        "import shutil; shutil.copyfile = kill\n"  # as if in the middle of the copy
        "pack(PackJob(sys.argv[1], sys.argv[2], PackSettings(), tmp=sys.argv[3]))\n"
    )
    out = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", program, images_file, out, tmp_path],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert any(out.glob(".~*"))  # one, or two: a thread writes the shard, another the labels
    packed_index(images_file, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "croissant.json",
        "index.json",
        "shard-00000.labels.i32",
        "shard-00000.u8",
    ]


def test_other_files_at_the_destination_survive_a_failure(tmp_path: Path) -> None:
    out = write_folder(tmp_path / "out", {"notes.txt": b"notes"})
    folder = write_folder(tmp_path / "set", {"a.png": b""})
    with pytest.raises(DataError):
        packed_index(folder, out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_destination_that_cannot_be_written_is_found_first(
    images_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    steps: list[Progress] = []
    with pytest.raises(StorageError, match=f"{tmp_path}/file"):
        pack(PackJob(str(images_file), f"{tmp_path}/file/out", PackSettings()), steps.append)
    assert steps == []


def test_the_folder_of_the_images_is_refused_as_destination(tmp_path: Path) -> None:
    """Shards among the photos, and the advice to delete them, would cost someone the photos."""
    folder = write_folder(tmp_path / "photos", class_files(6))
    for destination in (folder, tmp_path / "x" / ".." / "photos", f"file://{folder}"):
        with pytest.raises(
            ConfigError,
            match=f"DEST is the folder of the images, {folder}; expected another folder, for "
            f"example {folder}-packed",
        ):
            packed_index(folder, destination)
    assert sorted(path.name for path in folder.iterdir()) == ["cat", "dog", "owl"]
    assert packed_index(folder, folder / "packed").num_rows == 6
    assert packed_index(folder, folder / "packed").num_rows == 6  # what lies there changes nothing


def test_a_missing_temporary_folder(images_file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StorageError, match=rf"{tmp_path}/none: no temporary folder can be made there .*--tmp"
    ):
        pack(
            PackJob(str(images_file), str(tmp_path / "out"), PackSettings(), tmp=tmp_path / "none")
        )
    assert not (tmp_path / "out").exists()


MEASURE = """
import sys
from job.data.index import PackSettings
from job.packing.pack import PackJob, pack
from tests.data.peak_memory import peak_bytes
pack(PackJob(sys.argv[1], sys.argv[2], PackSettings(shard_bytes=32 << 20), tmp=sys.argv[3]))
print(peak_bytes())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peak_mib = []
    for num_images in (20_000, 320_000):  # 16 and 251 MB
        images = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (num_images, 28, 28))
        images[:] = np.arange(num_images, dtype=np.uint8)[:, None, None]
        images.flush()
        del images
        out = tmp_path / f"out-{num_images}"
        num_bytes = number_printed_by(MEASURE, tmp_path / "a.npy", out, tmp_path)
        peak_mib.append(num_bytes >> 20)
    small, large = peak_mib
    assert large - small < 80, f"{small} MiB for 16 MB of images, {large} MiB for 251 MB"


def test_mnist(shared_data: Path | None, tmp_path: Path) -> None:
    if shared_data is None:
        images, labels = numbered(10_000, 28, 28)[..., 0], (np.arange(10_000) % 10).astype(np.uint8)
        files = {"t10k-images-idx3-ubyte": idx(images), "t10k-labels-idx1-ubyte": idx(labels)}
        write_folder(tmp_path / "mnist", files)
    index = packed_index((shared_data or tmp_path) / "mnist", tmp_path / "out", split="test")
    assert (index.num_rows, index.image_shape) == (10_000, (28, 28, 1))
    assert index.classes is not None
    assert [image_class.name for image_class in index.classes] == [
        str(digit) for digit in range(10)
    ]
    assert verify(open_store(str(tmp_path / "out")), index) == []
    if shared_data is not None:
        assert index.classes[1].num_rows == 1135
        rows, labels = packed_rows(tmp_path / "out", index), packed_labels(tmp_path / "out", index)
        means = [rows[labels == digit].mean() for digit in (0, 1)]
        assert (
            means[0] > 2 * means[1]
        )  # a nought has far more ink than a one: labels still belong to their images


def test_cifar10(shared_data: Path | None, tmp_path: Path) -> None:
    if shared_data is None:
        pytest.skip("no real images beside this checkout")
    index = packed_index(
        shared_data / "cifar10" / "cifar10-jpg.tar.gz", tmp_path / "out", limit=2500
    )
    assert index.image_shape == (32, 32, 3)
    assert index.classes is not None
    assert Counter({image_class.name: image_class.num_rows for image_class in index.classes}) == {
        "airplane": 1000,
        "automobile": 1000,
        "bird": 500,
    }
