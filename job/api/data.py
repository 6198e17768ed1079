"""Pack images, open packed ones, and learn the features that scores compare."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from job.api.arguments import check_choice, check_whole
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
MAX_SIDE, MAX_SEED = 4096, 2**31 - 1
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
    check_choice("fit", fit, FITS)
    check_choice("channels", channels, (None, 1, 3))
    check_choice("split", split, (None, "train", "test"))
    sides = () if size is None else size if isinstance(size, tuple) else (size, size)
    if len(sides) not in (0, 2):
        raise ConfigError(f"size is {size!r}; expected one side or (height, width)")
    settings = PackSettings(
        size="x".join(str(check_whole("size", side, 1, MAX_SIDE)) for side in sides) or None,
        channels=channels,
        fit=fit,
        seed=check_whole("seed", seed, 0),
        skip_bad=skip_bad,
        limit=None if limit is None else check_whole("limit", limit, 1),
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
    epochs, seed = check_whole("epochs", epochs, 1, 1000), check_whole("seed", seed, 0, MAX_SEED)
    packed = open_packed(data, storage=storage)
    images = packed.read(0, MAX_FIT_BYTES // packed.index.row_bytes)
    load_tensorflow()
    from job.quality.classifier import fit
    from job.quality.classifier_file import save_classifier

    classifier = fit(images, seed, epochs, on_epoch)
    return save_classifier(packed.store, packed.index, classifier, len(images.images), epochs, seed)
