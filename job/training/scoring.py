"""Scores of the generator while it trains: all workers make images, the chief compares them.

At the steps of ``schedule.scores_at`` each worker makes its share of the images from the run's
fixed latents, whose first ones are those of the grids, and extracts their features. The chief
compares all features with those of real images, which it computes once and keeps beside the data.
Training is not touched: a run ends with the same bits with and without scores.
"""

import logging
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from job.checkpoints import arrays
from job.checkpoints.best import Best, best_of
from job.checkpoints.manifest import Manifest
from job.config.errors import StorageError
from job.data.index import ImageClass
from job.data.rows import read_rows
from job.gan.latents import fixed_latents, with_labels
from job.gan.step import encode
from job.quality.features import open_features
from job.quality.frechet import distance_from, moments
from job.quality.kernel import kernel_distance
from job.quality.keys import real_features_key
from job.quality.neighbours import neighbourhood
from job.storage.store import ObjectMissing
from job.training.context import RunContext
from job.training.early_stop import is_early_stop

log = logging.getLogger("dcgan.training")

_BLOCK_IMAGES = 256


def open_scorer(context: RunContext, resumed: Manifest | None) -> "Scorer | None":
    """Return the scorer of a run; None without scores. The preflight resolves ``auto``."""
    if context.spec.quality.features in ("auto", "none"):
        return None
    return Scorer(context, resumed)


class Scorer:
    """Scores generators; ``resumed`` is the manifest that training resumed from."""

    def __init__(self, context: RunContext, resumed: Manifest | None):
        spec, index = context.spec, context.index
        self._context, self._num = context, min(spec.quality.num_images, index.num_rows)
        self._features = open_features(
            spec.quality.features, context.data_store, index, spec.storage
        )
        self.basis = {
            "features": self._features.name,
            "features_fingerprint": self._features.fingerprint,
            "real_fingerprint": index.fingerprint,
            "num_real": str(self._num),
            "num_generated": str(self._num),
        }
        is_comparable = resumed is not None and resumed.scored_by == self.basis
        self._labels = _labels(context.classes, self._num)
        # On the chief alone, which updates it; an old one elsewhere would end the run.
        knows_best = resumed is not None and is_comparable and context.topology.is_chief
        self._best: Best | None = best_of(resumed.metrics) if resumed and knows_best else None
        self._scores: dict[str, float] = {}
        self._scored_step = 0
        self._real: NDArray[np.float32] | None = None
        self._frechet: Callable[..., float] | None = None
        if context.topology.is_chief:
            self._real = self._real_features()
            self._frechet = distance_from(moments(self._real))

    def metrics(self, step: int) -> dict[str, float]:
        """Return the entries of the manifest of ``step``: its scores, if any, and the best.

        The best is that of the steps with a checkpoint.
        """
        scores = self._scores if self._scored_step == step else {}
        return {**scores, **(self._best.to_metrics() if self._best else {})}

    def is_over(self, step: int) -> bool:
        """Return whether the run ends at ``step``, on the chief; False on other workers."""
        return is_early_stop(self._context.spec, self._best, step)

    def is_worse_than(self, ratio: float) -> bool:
        """Return whether the last distance is over ``ratio`` times the best, on the chief."""
        distance, best = self._scores.get("frechet_distance"), self._best
        return distance is not None and best is not None and distance > ratio * best.distance

    def score(self, generator: keras.Model, step: int) -> dict[str, float]:
        """Score ``generator``, the same on every worker; return the scores on the chief, else {}.

        With the best distance of the run, if it has one. Every worker calls it at the same steps.
        """
        generated = self._context.collectives.sum_rows(self._own_features(generator))
        if self._real is None or self._frechet is None:
            return {}
        kernel, near = kernel_distance(self._real, generated), neighbourhood(self._real, generated)
        distance = self._frechet(moments(generated))
        is_saved = self._context.schedule.checkpoints_at(step)
        if is_saved and (self._best is None or distance < self._best.distance):
            self._best = Best(distance, step)
        self._scored_step, self._scores = (
            step,
            {
                "frechet_distance": distance,
                "kernel_distance": kernel.mean,
                "kernel_error": kernel.standard_error,
                **near._asdict(),
            },
        )
        best = {"best_frechet_distance": self._best.distance} if self._best else {}
        return self._scores | best

    def _own_features(self, generator: keras.Model) -> NDArray[np.float32]:
        """Return features ``[N, D]``: rows of this worker's images; all others are 0."""
        topology, spec = self._context.topology, self._context.spec
        latents = fixed_latents(spec.seed, self._num, spec.model.generator.latent_size).numpy()
        rows = np.array_split(np.arange(self._num), topology.world_size)[topology.rank]
        features = np.zeros((self._num, self._features.model.output_shape[-1]), np.float32)
        for first in range(0, len(rows), _BLOCK_IMAGES):  # none with more workers than images
            block = rows[first : first + _BLOCK_IMAGES]
            labels = None if self._labels is None else tf.constant(self._labels[block])
            inputs = with_labels(tf.constant(latents[block]), labels)
            images = encode(generator(inputs, training=False)).numpy()
            features[block] = self._features.extract(images)
        return features

    def _real_features(self) -> NDArray[np.float32]:
        """Return the features ``[N, D]`` of the first real images: from the cache, or made now."""
        context, size = self._context, (self._num, self._features.model.output_shape[-1])
        store, key = context.data_store, real_features_key(self._features.fingerprint, self._num)
        try:
            data = context.retry(lambda: store.read(key))
            return arrays.unpack(data, {"features": (size, np.float32)}, key)["features"]
        except ObjectMissing:
            pass
        except StorageError as error:
            log.warning("%s: made again: %s", key, error)
        rows = context.retry(lambda: read_rows(store, context.index, np.arange(self._num)))
        features = self._features.extract(rows.images)
        try:
            context.retry(lambda: store.write(key, arrays.pack({"features": features})))
        except StorageError as error:  # a data set may be read-only
            log.info("features of the real images are not kept: %s", error)
        return features


def _labels(classes: Sequence[ImageClass], num_images: int) -> NDArray[np.int32] | None:
    """Return the classes of the generated images, in the proportions of the data; None without."""
    if not classes:
        return None
    shares = np.cumsum([each.num_rows for each in classes], dtype=np.float64)
    places = (np.arange(num_images) + 0.5) / num_images * shares[-1]
    return np.searchsorted(shares, places).astype(np.int32)
