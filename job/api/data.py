"""Pack images, open packed ones, and learn the features that scores compare."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from job.api.framework import load_tensorflow
from job.api.storage import Storage, storage_spec
from job.config.errors import ConfigError
from job.data.index import PackSettings
from job.data.rows import PackedImages
from job.data.rows import open_packed as open_data
from job.packing.pack import PackJob
from job.packing.pack import pack as pack_images

if TYPE_CHECKING:
    from job.quality.classifier_file import Description

FITS = ("crop", "pad", "stretch", "exact")
MAX_SIDE = 4096
MAX_FIT_BYTES = 1 << 30  # of pixels in memory


def pack(
    source: str,
    destination: str,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    seed: int = 0,
    split: str | None = None,
    limit: int | None = None,
    skip_bad: bool = False,
    storage: Storage = None,
) -> PackedImages:
    """Pack the images of ``source`` into shards at ``destination``, once; return the data set.

    ``source`` is a folder, archive, IDX file, ``.npy``, ``.npz``, ``s3://bucket/prefix``,
    ``keras:fashion_mnist`` or ``synthetic:garments:N``; sub-folders are classes. ``size`` is one
    side or ``(height, width)``, by default the images' own; ``channels`` 1 or 3. ``fit`` of images
    of another size: ``crop``, ``pad``, ``stretch`` or ``exact`` (refuse). Raise ``DataError`` for
    broken images, ``ConfigError`` if other images are at ``destination``.
    """
    if fit not in FITS:
        raise ConfigError(f"fit is {fit!r}; expected one of {', '.join(FITS)}")
    if channels not in (None, 1, 3):
        raise ConfigError(f"channels is {channels!r}; expected 1 (grey), 3 (colour) or None")
    sides = () if size is None else size if isinstance(size, tuple) else (size, size)
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise ConfigError(
            f"size is {size!r}; expected one side or (height, width), each 1 to {MAX_SIDE}"
        )
    settings = PackSettings(
        size="x".join(map(str, sides)) or None,
        channels=channels,
        fit=fit,
        seed=seed,
        skip_bad=skip_bad,
        limit=limit,
        split=split,
    )
    pack_images(PackJob(str(source), str(destination), settings, storage_spec(storage)))
    return open_packed(destination, storage=storage)


def open_packed(uri: str, *, storage: Storage = None) -> PackedImages:
    """Return the packed data set at ``uri``: its ``index``, and images by ``read(first, num)``."""
    return open_data(str(uri), storage_spec(storage))


def fit_features(
    data: str,
    *,
    epochs: int = 3,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
    storage: Storage = None,
) -> "Description":
    """Train the classifier whose features scores compare; write it beside the packed images.

    It learns the classes or, without classes, by how far an image was turned. Return its facts,
    such as ``accuracy`` on a held-out tenth. ``on_epoch`` gets the epoch, from 1, and the accuracy.
    """
    packed = open_packed(data, storage=storage)
    images = packed.read(0, MAX_FIT_BYTES // packed.index.row_bytes)
    load_tensorflow()
    from job.quality.classifier import fit
    from job.quality.classifier_file import save_classifier

    classifier = fit(images, seed, epochs, on_epoch)
    return save_classifier(packed.store, packed.index, classifier, len(images.images), epochs, seed)
