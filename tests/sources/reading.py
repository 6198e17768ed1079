"""Read a source to its end: names, classes and pixels for a comparison."""

from collections.abc import Iterator

import numpy as np

from job.sources.image import ImagePolicy, decode_image
from job.sources.source import ImageBlock, ImageFile, Source

GREY = ImagePolicy(None, 1)


def file_of(item: ImageFile | ImageBlock) -> tuple[str, str | None, int]:
    """Return name, class and grey of an image file."""
    assert isinstance(item, ImageFile)
    return item.name, item.label, int(decode_image(item.load(), GREY).pixels[0, 0, 0])


def files_of(source: Source) -> list[tuple[str, str | None, int]]:
    return [file_of(item) for item in source.items()]


def arrays_of(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    blocks = list(source.items())
    assert all(isinstance(block, ImageBlock) for block in blocks)
    images, labels = zip(*blocks, strict=True)
    return np.concatenate(images), None if labels[0] is None else np.concatenate(labels)


def read_all(source: Source) -> Iterator[None]:
    for _ in source.items():
        yield None
