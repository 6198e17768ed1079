"""A run of tiny networks, and its images and places in the batch."""

import numpy as np
import tensorflow as tf

from job.config.load import load_run
from job.config.spec import RunSpec
from job.gan.noise import BatchSlice
from job.training.automatic import without_auto

SMALL = [
    "uri=runs",
    "data.uri=data",
    "workers.count=1",
    "training.global_batch_size=8",
    "model.generator.latent_size=8",
]
NUM_IMAGES = 60_000  # of the data set, for values that are auto
TINY_NETWORKS = ["model.generator.filters=[16, 8]", "model.discriminator.filters=[8, 16]"]


def small(*overrides: str, preset: str = "notebook") -> RunSpec:
    spec = load_run(preset, overrides=[*SMALL, *TINY_NETWORKS, *overrides])
    return without_auto(spec, NUM_IMAGES)


def at(step: int, first: int = 0, labels: list[int] | None = None) -> BatchSlice:
    given = None if labels is None else tf.constant(labels, tf.int32)
    return BatchSlice(tf.constant(step, tf.int64), tf.constant(first, tf.int64), given)


def images(count: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), np.uint8))
