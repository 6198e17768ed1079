"""A trained generator, and images of it: those that ``generate`` writes for the same seed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from job.api.arguments import check_whole, python_names
from job.api.framework import load_tensorflow
from job.api.storage import Storage, storage_spec
from job.checkpoints.origin import best_uri
from job.config.errors import ConfigError
from job.data.rows import LabelledImages

if TYPE_CHECKING:
    import keras

    from job.synthesis.source import Source

MAX_BYTES = 4 << 30  # of pixels in memory
MAX_SEED, MAX_INDEX = 2**31 - 1, 2**48


class Generator:
    """The generator of one checkpoint."""

    def __init__(self, source: "Source") -> None:
        self._source = source

    @property
    def model(self) -> "keras.Model":
        """The Keras model: latents ``[N, Z]`` to images ``[N, H, W, C]``, float32 in -1 ... 1.

        With classes it takes ``[latents, labels]``, labels int32 ``[N]``.
        """
        return self._source.generator

    @property
    def uri(self) -> str:
        """The URI of the checkpoint."""
        return self._source.uri

    @property
    def step(self) -> int:
        """The step of the checkpoint."""
        return self._source.step

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, by label; empty if it was trained without."""
        return tuple(each.name for each in self._source.classes)

    @python_names()
    def sample(
        self,
        num_images: int,
        *,
        seed: int = 0,
        start: int = 0,
        classes: Sequence[str] = (),
        balanced: bool = False,
        truncation: float | None = None,
    ) -> LabelledImages:
        """Return the images ``start ... start + num_images - 1`` of ``seed`` and their labels.

        Images are uint8 ``[N, H, W, C]``; labels int32 ``[N]``, None without classes. ``classes``
        are made in turn, ``balanced`` makes all of them in turn; otherwise each is as frequent as
        in the training data. ``truncation`` limits latents to that many standard deviations.
        """
        from job.synthesis.classes import class_plan
        from job.synthesis.images import image_blocks

        generator, shape = self.model, self.model.output_shape[1:]
        check_whole("num_images", num_images, 1, int(MAX_BYTES // np.prod(shape)))
        check_whole("seed", seed, 0, MAX_SEED)
        check_whole("start", start, 0, MAX_INDEX)
        if truncation is not None and not truncation > 0:
            raise ConfigError(f"truncation is {truncation!r}; expected a number above 0, or None")
        plan = class_plan(self._source.classes, classes, balanced=balanced, seed=seed, uri=self.uri)
        blocks = image_blocks(
            generator, seed, num_images, start, truncation=truncation, classes=plan
        )
        labels = plan.labels(start, num_images) if plan else None
        return LabelledImages(np.concatenate(list(blocks)), labels, self.class_names)


def load_generator(uri: str, *, best: bool = False, storage: Storage = None) -> Generator:
    """Return the generator of a run folder's newest checkpoint, or of ``RUN/checkpoints/step-N``.

    ``best`` takes the checkpoint with the best score. Raise ``StorageError`` if there is none.
    """
    options = storage_spec(storage)
    if best:
        uri = best_uri(str(uri), options)
    load_tensorflow()
    from job.synthesis.source import load_generator as load

    return Generator(load(str(uri), options))
