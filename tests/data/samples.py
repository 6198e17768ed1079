"""Small images, archives and data sets that the tests of ``job.data`` make for themselves."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from job.data.index import Index, PackSettings
from job.packing.pack import PackJob, pack
from job.sources.garments import GarmentSource
from job.sources.source import ImageBlock


def encoded(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    """The bytes of ``image`` as a file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def grey_png(value: int, size: tuple[int, int] = (4, 4)) -> bytes:
    """A PNG of one grey; ``size`` is (width, height)."""
    return encoded(Image.new("L", size, value))


def class_files(num_images: int = 12) -> dict[str, bytes]:
    """Grey images of values 0, 1, ... in the folders cat, dog and owl."""
    return {
        f"{('cat', 'dog', 'owl')[value % 3]}/{value:03d}.png": grey_png(value)
        for value in range(num_images)
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def idx(values: NDArray[np.uint8]) -> bytes:
    """An IDX file of uint8 values."""
    return (
        bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()
    )


def keras_fashion_mnist(
    keras_home: Path, num_images: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Write drawn garments, with labels, as Fashion-MNIST of Keras; return the first part."""
    folder = keras_home / "datasets/fashion-mnist"
    folder.mkdir(parents=True)
    parts = []
    for seed, split in enumerate(("train", "t10k")):
        items = GarmentSource(num_images, seed).items()
        blocks = [block for block in items if isinstance(block, ImageBlock)]
        images = np.concatenate([block.images for block in blocks])[..., 0]
        labels = np.concatenate([block.labels for block in blocks if block.labels is not None])
        parts.append((images, labels.astype(np.uint8)))
        for name, values in zip(("images-idx3", "labels-idx1"), parts[-1], strict=True):
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values), 1))
    return parts[0]


def numbered(
    num_images: int, height: int = 2, width: int = 3, channels: int = 1
) -> NDArray[np.uint8]:
    """Return images ``[N, H, W, C]`` that differ.

    The first two values are the bytes of the image's number; the others follow from it.
    """
    numbers = np.arange(num_images)
    values = (numbers[:, None] * 7 + np.arange(height * width * channels)).astype(np.uint8)
    values[:, 0], values[:, 1] = numbers & 255, numbers >> 8
    return values.reshape(num_images, height, width, channels)


def numbers(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of each row among the images of ``numbered``."""
    flat = rows.reshape(len(rows), -1).astype(np.int64)
    return flat[:, 0] + 256 * flat[:, 1]


def packed_index(
    source: Path | str, destination: Path | str, workers: int = 0, **settings: object
) -> Index:
    """Pack and return the index."""
    return pack(
        PackJob(str(source), str(destination), PackSettings(**settings), workers=workers)
    ).index  # type: ignore[arg-type]


def packed_rows(folder: Path, index: Index) -> NDArray[np.uint8]:
    """All rows of a packed folder, read as the documentation says a newcomer can."""
    return np.concatenate(
        [
            np.fromfile(folder / shard.name, "u1").reshape(-1, *index.image_shape)
            for shard in index.shards
        ]
    )


def packed_labels(folder: Path, index: Index) -> NDArray[np.int32]:
    names = [shard.labels.name for shard in index.shards if shard.labels is not None]
    return np.concatenate([np.fromfile(folder / name, "<i4") for name in names])
