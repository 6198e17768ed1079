"""Packing: what goes in comes out, shuffled alike on any number of threads, in bounded memory, whole or not at all."""

import os
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
from job.packing.scatter import BUCKETS, Scatter
from job.storage.uri import open_store
from tests.data.samples import (
    class_files,
    encoded,
    grey_png,
    idx,
    numbered,
    packed_index,
    packed_labels,
    packed_rows,
    write_folder,
    write_tar,
    write_zip,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def images_file(tmp_path: Path) -> Path:
    """3,000 images that differ, with labels, as .npz."""
    path = tmp_path / "images.npz"
    np.savez(path, x=numbered(3000), y=np.arange(3000) % 5)
    return path


def numbers(rows: np.ndarray) -> np.ndarray:
    """Which of ``numbered``'s images each row is."""
    flat = rows.reshape(len(rows), -1).astype(np.int64)
    return flat[:, 0] + 256 * flat[:, 1]


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
    assert (
        np.mean(np.abs(np.diff(rows)) < 10) < 0.02
    )  # neighbours in the source are no neighbours any more
    for part in rows.reshape(10, 300):
        assert abs(part.mean() - 1500) < 250  # any slice is a sample of the whole


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


def test_a_bucket_too_large_for_memory_is_split(tmp_path: Path) -> None:
    records = np.arange(1000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    (tmp_path / "tmp").mkdir()
    rows = Scatter(tmp_path / "tmp", 4, key=3, max_bucket_bytes=60)
    for part in np.array_split(records, 7):
        rows.add(part)
    chunks = list(rows.shuffled())
    assert max(chunk.nbytes for chunk in chunks) <= 60
    out = np.concatenate(chunks).view(np.uint32)[:, 0]
    assert np.array_equal(np.sort(out), np.arange(1000))
    assert abs(np.corrcoef(out, np.arange(1000))[0, 1]) < 0.1
    assert list((tmp_path / "tmp").iterdir()) == []


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
        "index.json",
        "shard-00000.u8",
    ]


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


def test_sizes_that_differ_ask_for_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": grey_png(1), "b.png": grey_png(1, (5, 7))})
    with pytest.raises(
        DataError,
        match=f"{folder}/b.png: is 7x5, but {folder}/a.png is 4x4; expected images of one size: pass --size",
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


BROKEN = {
    "empty.png": (b"", r"is empty \(0 bytes\)"),
    "text.png": (
        b"hello world, not an image",
        "is not a PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or AVIF image",
    ),
    "cut.jpg": (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:700], "is damaged"),
    "bomb.png": (encoded(Image.new("1", (20_000, 20_000))), "is a decompression bomb"),
}


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


def test_a_folder_that_cannot_be_listed_is_named_or_skipped(tmp_path: Path) -> None:
    """As a user without rights: root may list any folder, so it gives up that right (``setpriv`` is of util-linux)."""
    folder = write_folder(tmp_path / "set", class_files(3) | {"cat/closed/a.png": grey_png(9)})
    program = (
        "import sys; from job.data.index import PackSettings; from job.packing.pack import PackJob, pack\n"
        "index = pack(PackJob(sys.argv[1], sys.argv[2], PackSettings(skip_bad=len(sys.argv) > 3))).index\n"
        "print(index.num_rows, index.source.num_read, index.source.num_skipped, index.source.skipped)\n"
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
        match=rf"file://{out} holds a data set packed from the same source with seed 0, not 1; choose another DEST",
    ):
        packed_index(images_file, out, seed=1)
    folder = write_folder(tmp_path / "set", class_files(3))
    with pytest.raises(
        ConfigError,
        match=rf"holds a data set packed from {images_file}; expected an empty DEST to pack {folder}",
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
    expected = rf"file://{out} was packed from {source} before that was changed: still {num_bytes:,} bytes, but files were written, renamed or replaced since: choose another DEST"
    with pytest.raises(ConfigError, match=expected):
        pack(job)


def test_a_destination_of_before_signatures_is_known_again(
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
        tmp_path / "out", leftovers | {"shard-notes.txt": b"mine", "index.json.packing": b""}
    )
    index = packed_index(images_file, out)
    assert sorted(path.name for path in out.iterdir()) == [
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
        "import os, signal, sys; from job.data.index import PackSettings; from job.packing.pack import PackJob, pack\n"
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
    assert any(out.glob(".~*"))  # one, or two: shard and labels are written by threads of their own
    packed_index(images_file, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "index.json",
        "shard-00000.labels.i32",
        "shard-00000.u8",
    ]


def test_other_files_at_the_destination_survive_a_failure(tmp_path: Path) -> None:
    out = write_folder(tmp_path / "out", {"notes.txt": b"mine"})
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


def test_the_source_is_no_destination(tmp_path: Path) -> None:
    """Shards among the photos, and the advice to delete what is there, would cost someone the photos."""
    folder = write_folder(tmp_path / "photos", class_files(6))
    for destination in (folder, tmp_path / "x" / ".." / "photos", f"file://{folder}"):
        with pytest.raises(
            ConfigError,
            match=f"DEST is the folder of the images, {folder}; expected another folder, for example {folder}-packed",
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


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="no /dev/full on this system")
def test_a_full_temporary_disk(tmp_path: Path) -> None:
    for bucket in range(BUCKETS):  # every bucket file is a device that is always full
        (tmp_path / f"bucket-{7:016x}-{bucket:02d}").symlink_to("/dev/full")
    rows = Scatter(tmp_path, 100_000, key=7)
    with pytest.raises(
        StorageError, match=rf"{tmp_path}: cannot write temporary files \(no space left\); .*--tmp"
    ):
        rows.add(np.zeros((8, 100_000), np.uint8))


def test_progress_goes_up_to_the_whole(images_file: Path, tmp_path: Path) -> None:
    steps: list[Progress] = []
    pack(PackJob(str(images_file), str(tmp_path / "out"), PackSettings()), steps.append)
    assert steps[-1] == Progress("write", 3000, 3000)
    assert Progress("read", 3000, 3000) in steps


MEASURE = """
import sys
from pathlib import Path
from job.data.index import PackSettings
from job.packing.pack import PackJob, pack
pack(PackJob(sys.argv[1], sys.argv[2], PackSettings(shard_bytes=32 << 20), tmp=sys.argv[3]))
# Not ru_maxrss: that is never less than the memory of the process this one was forked from, and the tests may have TensorFlow in theirs.
print(next(int(line.split()[1]) // 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peak_mib = []
    for num_images in (20_000, 320_000):  # 16 and 251 MB
        images = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (num_images, 28, 28))
        images[:] = np.arange(num_images, dtype=np.uint8)[:, None, None]
        images.flush()
        del images
        command = [
            sys.executable,
            "-c",
            MEASURE,
            str(tmp_path / "a.npy"),
            str(tmp_path / f"out-{num_images}"),
            str(tmp_path),
        ]
        peak_mib.append(
            int(
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            )
        )
    small, large = peak_mib
    assert large - small < 80, f"{small} MiB for 16 MB of images, {large} MiB for 251 MB"


def test_mnist(shared_data: Path | None, tmp_path: Path) -> None:
    if shared_data is None:
        write_folder(tmp_path / "mnist", {"t10k-images-idx3-ubyte": idx(numbered(10_000, 28, 28)[..., 0]),
                                          "t10k-labels-idx1-ubyte": idx((np.arange(10_000) % 10).astype(np.uint8))})  # fmt: skip
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
