"""Decode a source's images on several threads, in the source's order, a few at a time.

Threads and not processes: Pillow releases the interpreter lock while it decodes and resizes.
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
from job.sources.source import MAX_FILE_BYTES, ImageBlock, ImageFile, Items

_TASK_FILES, _TASK_BYTES = 64, 1 << 20
_MAX_PENDING_BYTES = 512 << 20  # of files that are in memory, or one file if it is larger
_TASK_DECODED_BYTES = 8 << 20  # raw pixels of one task if the size is known; several tasks wait


class DecodedFile(NamedTuple):
    """One file of a source: pixels uint8 ``[H, W, C]``, or None and the reason."""

    name: str
    label: str | None
    pixels: NDArray[np.uint8] | None
    is_grey: bool
    reason: str


Decoded = list[DecodedFile] | ImageBlock


def decode_all(items: Items, policy: ImagePolicy, workers: int, uri: str) -> Iterator[Decoded]:
    """Yield every item decoded and fitted: files in small lists, blocks as blocks.

    A broken file is returned with its reason, not raised. ``DataError`` if raw pixels do not fit;
    ``OSError``, ``StorageError`` and the source's own errors pass.
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


def limited(items: Items, limit: int | None) -> Items:
    """Yield the first ``limit`` images; None for all."""
    if limit is None:
        yield from items
        return
    for item in items:
        if isinstance(item, ImageBlock):
            item = _part(item, 0, limit)
        limit -= len(item.images) if isinstance(item, ImageBlock) else 1
        yield item
        if limit == 0:
            return


def _tasks(
    items: Items, policy: ImagePolicy, uri: str
) -> Iterator[tuple[Callable[[], Decoded], int]]:
    """Yield functions that decode some of the items each, with the bytes of their files."""
    files: list[ImageFile] = []
    num_bytes = 0
    max_images = None
    if policy.size is not None:
        max_images = max(1, _TASK_DECODED_BYTES // (policy.size[0] * policy.size[1] * 3))
    max_files = min(_TASK_FILES, max_images or _TASK_FILES)
    for item in items:
        if isinstance(item, ImageBlock):
            # In parts: small images may be enlarged to gigabytes.
            step = max_images or len(item.images)
            for start in range(0, len(item.images), step):
                yield partial(_fit_block, _part(item, start, start + step), policy, uri), 0
            continue
        files.append(item)
        num_bytes += item.num_bytes
        if len(files) == max_files or num_bytes >= _TASK_BYTES:
            yield partial(_decode_files, files, policy), num_bytes
            files, num_bytes = [], 0
    if files:
        yield partial(_decode_files, files, policy), num_bytes


def _part(block: ImageBlock, start: int, stop: int) -> ImageBlock:
    images, labels = block
    return ImageBlock(images[start:stop], None if labels is None else labels[start:stop])


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
        reason = f"cannot be read ({error.strerror or error})"
    except DataError as error:
        reason = str(error)
    return DecodedFile(file.name, file.label, None, False, reason)


def _fit_block(block: ImageBlock, policy: ImagePolicy, uri: str) -> ImageBlock:
    images, labels = block
    shape = images.shape
    if policy.size in (None, shape[1:3]) and policy.channels in (None, shape[3]):
        return block
    try:
        return ImageBlock(np.stack([fit_pixels(pixels, policy) for pixels in images]), labels)
    except DataError as error:
        raise DataError(f"{uri}: {error}") from None
