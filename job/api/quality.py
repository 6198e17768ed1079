"""Evaluate images: scores, distances to the training images, usefulness."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from job.api.arguments import check_whole
from job.api.framework import load_tensorflow
from job.api.storage import Storage, storage_spec
from job.checkpoints.origin import best_uri
from job.config.errors import ConfigError, DataError
from job.data.rows import open_packed
from job.quality import DEFAULT_NUM, MIN_NUM, Usefulness

if TYPE_CHECKING:
    from PIL import Image

    from job.quality.evaluation import Evaluation


def evaluate(
    images: str,
    against: str,
    *,
    features: str = "classifier",
    num_images: int | None = None,
    seed: int = 0,
    held_out: str | None = None,
    usefulness: Usefulness | None = None,
    best: bool = False,
    storage: Storage = None,
    on_pairs: "Callable[[Image.Image], None]" = lambda picture: None,
    on_training: Callable[[str], None] = lambda recipe: None,
) -> "Evaluation":
    """Score ``images`` against as many packed real images ``against``, and real against real.

    ``images`` is a run folder, a checkpoint, a ``generator.keras``, packed images or a source of
    ``pack``. ``features`` is ``classifier`` (of ``fit_features``), ``inception`` or ``file:URI``.
    With ``held_out``, packed real images that training did not see, also ``near_training`` and, if
    asked, ``usefulness``. ``num_images`` of each kind are at most half of the real ones.
    ``on_pairs`` gets the picture of the closest pairs if there are ``held_out`` images,
    ``on_training`` the name of each recipe of ``usefulness`` before it is trained.
    """
    if num_images is not None:
        check_whole("num_images", num_images, MIN_NUM)
    check_whole("seed", seed, 0, 2**31 - 1)
    for name, value in usefulness._asdict().items() if usefulness else ():
        check_whole(f"usefulness.{name}", value, 1)
    options = storage_spec(storage)
    if held_out is None and usefulness is not None:
        raise ConfigError("usefulness is set without held_out; expected packed real images, too")
    real = open_packed(against, options)
    num = _checked_num(num_images, real.index.num_rows, against)
    apart = open_packed(held_out, options) if held_out else None
    if best:
        images = best_uri(images, options)
    load_tensorflow()
    from job.quality import evaluate as steps_of
    from job.quality.features import open_features
    from job.quality.usefulness import Schedule
    from job.synthesis.generated import load_images

    if apart is not None:
        steps_of.check_held_out(apart, real)
    extractor = open_features(features, real.store, real.index, options)
    found = load_images(images, options, real.index.image_shape, num, seed)
    if apart is None:
        return steps_of.score_images(real, extractor, found.data, found.uri, seed)
    steps_of.check_trained_on(found.data_fingerprint, real, found.uri)
    unseen, measure = apart.read(0, num), None
    if usefulness is not None:
        per_class, steps, repeats, num_generated = usefulness
        most = steps_of.MAX_TRAIN_BYTES // real.index.row_bytes
        shape, wanted = real.index.image_shape, min(num_generated, most)
        generated = load_images(images, options, shape, wanted, seed, or_fewer=True)
        measure = steps_of.usefulness_measurement(
            real,
            (generated.data, found.uri),
            (apart.read(0, most), apart.store.uri),
            Schedule(per_class, steps, range(seed, seed + repeats)),
            on_training,
        )
    result = steps_of.score_images(real, extractor, found.data, found.uri, seed)
    near, picture = steps_of.compare_with_training(real, extractor, found.data, unseen)
    on_pairs(picture)
    result = dataclasses.replace(result, near_training=near)
    return dataclasses.replace(result, usefulness=measure()) if measure else result


def _checked_num(num_images: int | None, num_rows: int, uri: str) -> int:
    """Return the number of images of each kind; half of the real ones are for the second line."""
    if num_rows < 2 * MIN_NUM:
        raise DataError(f"{uri}: {num_rows} images; expected at least {2 * MIN_NUM} to compare")
    if num_images is not None and num_images > num_rows // 2:
        raise ConfigError(
            f"--num is {num_images:,}; expected at most {num_rows // 2:,}, half of the images of"
            f" {uri}: the other half is for the line of real against real"
        )
    return num_images or min(DEFAULT_NUM, num_rows // 2)
