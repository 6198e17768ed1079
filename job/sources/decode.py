"""Decodes a source's images on several threads, in the source's order, a few at a time.

Threads and not processes: Pillow lets go of the interpreter lock while it decodes and resizes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError
from job.sources.image import ImagePolicy, decode_image, fit_pixels
from job.sources.source import MAX_FILE_BYTES, ImageBlock, ImageFile

_TASK_FILES, _TASK_BYTES = 64, 1 << 20
_MAX_PENDING_BYTES = (
    512 << 20
)  # of files that are decoded or wait for it, or one: an archive's are in memory by then
_TASK_DECODED_BYTES = (
    8 << 20
)  # raw pixels that one task makes, where the size is known before: several tasks wait at a time


class DecodedFile(NamedTuple):
    """One file of a source: pixels uint8 ``[H, W, C]``, or None and the reason why there are none."""

    name: str
    label: str | None
    pixels: NDArray[np.uint8] | None
    is_grey: bool
    reason: str


Decoded = list[DecodedFile] | ImageBlock


def decode_all(
    items: Iterator[ImageFile | ImageBlock], policy: ImagePolicy, workers: int, uri: str
) -> Iterator[Decoded]:
    """Every item decoded and fitted: files in small lists, blocks as blocks. A broken file is returned with its reason, not raised.

    ``DataError`` when raw pixels do not fit; ``OSError``, ``StorageError`` and the source's own errors pass.
    """
    pending: deque[tuple[Future[Decoded], int]] = deque()
    pending_bytes = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for task, num_bytes in _tasks(items, policy, uri):
            pending.append((pool.submit(task), num_bytes))
            pending_bytes += num_bytes
            while len(pending) > 2 * workers or (
                len(pending) > 1 and pending_bytes > _MAX_PENDING_BYTES
            ):
                first, num_bytes = pending.popleft()
                pending_bytes -= num_bytes
                yield first.result()
        for first, _ in pending:
            yield first.result()
    finally:
        pool.shutdown(cancel_futures=True)


def limited(
    items: Iterator[ImageFile | ImageBlock], limit: int | None
) -> Iterator[ImageFile | ImageBlock]:
    """The first ``limit`` images."""
    left = limit
    for item in items:
        if left is not None:
            if isinstance(item, ImageBlock) and len(item.images) > left:
                item = ImageBlock(
                    item.images[:left], None if item.labels is None else item.labels[:left]
                )
            left -= len(item.images) if isinstance(item, ImageBlock) else 1
        yield item
        if left == 0:
            return


def _tasks(
    items: Iterator[ImageFile | ImageBlock], policy: ImagePolicy, uri: str
) -> Iterator[tuple[Callable[[], Decoded], int]]:
    """Yield what decodes some of the items, and how many bytes of files that takes."""
    files: list[ImageFile] = []
    num_bytes = 0
    max_images = (
        None
        if policy.size is None
        else max(1, _TASK_DECODED_BYTES // (policy.size[0] * policy.size[1] * 3))
    )
    max_files = min(_TASK_FILES, max_images or _TASK_FILES)
    for item in items:
        if isinstance(item, ImageBlock):
            for part in _parts(item, max_images):
                yield partial(_fit_block, part, policy, uri), 0
            continue
        files.append(item)
        num_bytes += item.num_bytes
        if len(files) == max_files or num_bytes >= _TASK_BYTES:
            yield partial(_decode_files, files, policy), num_bytes
            files, num_bytes = [], 0
    if files:
        yield partial(_decode_files, files, policy), num_bytes


def _parts(block: ImageBlock, max_images: int | None) -> Iterator[ImageBlock]:
    """A block of small images may be enlarged to gigabytes: it is fitted in parts."""
    step = max_images or len(block.images)
    for start in range(0, len(block.images), step):
        yield ImageBlock(
            block.images[start : start + step],
            None if block.labels is None else block.labels[start : start + step],
        )


def _decode_files(files: list[ImageFile], policy: ImagePolicy) -> list[DecodedFile]:
    return [_decode_file(file, policy) for file in files]


def _decode_file(file: ImageFile, policy: ImagePolicy) -> DecodedFile:
    try:
        data = file.load()
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"is larger than {MAX_FILE_BYTES >> 20} MiB; expected an image")
        pixels, is_grey = decode_image(data, policy)
        return DecodedFile(file.name, file.label, pixels, is_grey, "")
    except OSError as error:
        return DecodedFile(
            file.name, file.label, None, False, f"cannot be read ({error.strerror or error})"
        )
    except DataError as error:
        return DecodedFile(file.name, file.label, None, False, str(error))


def _fit_block(block: ImageBlock, policy: ImagePolicy, uri: str) -> ImageBlock:
    images, labels = block
    try:
        if policy.size not in (None, images.shape[1:3]) or policy.channels not in (
            None,
            images.shape[3],
        ):
            images = np.stack([fit_pixels(pixels, policy) for pixels in images])
    except DataError as error:
        raise DataError(f"{uri}: {error}") from None
    return ImageBlock(images, labels)
