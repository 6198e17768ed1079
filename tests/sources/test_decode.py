"""Decoding on threads: in order, a few images at a time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from job.sources.decode import decode_all, limited
from job.sources.image import ImagePolicy
from job.sources.open_source import open_source
from job.sources.source import MAX_FILE_BYTES, ImageBlock, ImageFile
from tests.data.samples import (
    class_files,
    grey_png,
    numbered,
    write_folder,
)
from tests.sources.reading import GREY


@pytest.mark.slow
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
    """Files of 300 MiB, read ahead of 16 threads that decode: at most 3 wait, not 33."""
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


def test_files_come_in_their_order_with_the_reason_of_each_broken_one() -> None:
    def unreadable() -> bytes:
        raise OSError(5, "Input/output error")

    loads = {3: unreadable, 7: lambda: b"text", 11: lambda: bytes(MAX_FILE_BYTES + 1)}
    items = (
        ImageFile(f"{number}.png", "cat", 1 << 20, loads.get(number, partial(grey_png, number)))
        for number in range(20)
    )
    files = [file for decoded in decode_all(items, GREY, 4, "set") for file in decoded]
    assert [file.name for file in files] == [f"{number}.png" for number in range(20)]
    broken = {number: file.reason for number, file in enumerate(files) if file.pixels is None}
    assert broken.keys() == loads.keys()
    assert broken[3] == "cannot be read (Input/output error)"
    assert broken[7].startswith("is not a PNG")
    assert broken[11] == "is larger than 512 MiB; expected an image"
    assert {file.reason for file in files if file.pixels is not None} == {""}
    assert [int(files[number].pixels[0, 0, 0]) for number in (0, 19)] == [0, 19]


def test_a_limit_ends_inside_a_block() -> None:
    files = [ImageFile("a.png", None, 1, lambda: b""), ImageFile("b.png", None, 1, lambda: b"")]
    block = ImageBlock(numbered(5), np.arange(5))

    def taken(limit: int | None) -> list[object]:
        items = limited(iter([files[0], block, files[1]]), limit)
        return [item.images.shape[0] if isinstance(item, ImageBlock) else 1 for item in items]

    assert [taken(limit) for limit in (1, 3, 6, 7, 99, None)] == [
        [1],
        [1, 2],
        [1, 5],
        [1, 5, 1],
        [1, 5, 1],
        [1, 5, 1],
    ]
    [part] = limited(iter([block]), 3)
    assert isinstance(part, ImageBlock)
    assert part.labels is not None
    assert part.labels.tolist() == [0, 1, 2]
