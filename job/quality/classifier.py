"""A small classifier of the user's own images. Scores compare its last hidden layer.

Inception's features need a download and say little about images unlike photographs. This network
learns what differs in the data set itself: the labels or, without labels, by how far an image was
turned (Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations",
arXiv:1803.07728).

Knows no store: ``job.quality.classifier_file`` keeps it beside the data set.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from job.config.errors import DataError
from job.config.text import counted
from job.data.rows import LabelledImages

NUM_FEATURES = 128
ROTATIONS = ("0", "90", "180", "270")  # degrees
BATCH_SIZE = 128
MIN_IMAGES = 2 * BATCH_SIZE
LEARNING_RATE = 1e-3
_SMALLEST_SIDE = 7  # strided layers halve the image until a side is at most this

Task = Literal["labels", "rotations"]


class Classifier(NamedTuple):
    """The network and its task; ``accuracy`` is that on images it did not see."""

    model: keras.Model
    task: Task
    class_names: tuple[str, ...]
    accuracy: float


def build_classifier(image_shape: tuple[int, ...], num_outputs: int, seed: int) -> keras.Model:
    """Return the network from images ``[B, H, W, C]`` in [-1, 1] to features and logits.

    Its outputs are ``[features [B, 128], logits [B, num_outputs]]``, float32. ``seed`` draws the
    weights.
    """

    def he_normal(number: int) -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=seed * 1000 + number)

    images = keras.Input(image_shape, name="images")
    x, filters, side, number = images, 32, min(image_shape[:2]), 0
    while number < 3 or side > _SMALLEST_SIDE:
        strides = 1 if number == 0 else 2
        x = keras.layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=he_normal(number),
            name=f"conv_{number}",
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"norm_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
        side, number = -(-side // strides), number + 1
        filters = min(2 * filters, NUM_FEATURES)
    x = keras.layers.AveragePooling2D(2, padding="same", name="pool")(x)
    x = keras.layers.Flatten(name="flat")(x)
    hidden = keras.layers.Dense(
        NUM_FEATURES, "relu", kernel_initializer=he_normal(100), name="features"
    )(x)
    logits = keras.layers.Dense(num_outputs, kernel_initializer=he_normal(101), name="logits")
    return keras.Model(images, [hidden, logits(hidden)], name="quality_classifier")


def fit(
    data: LabelledImages,
    seed: int,
    epochs: int,
    on_epoch: Callable[[int, float], None] = lambda epoch, accuracy: None,
) -> Classifier:
    """Train on labelled images; without 256 of at least two classes on rotations of all.

    The same seed gives the same bits. A tenth of the images, the first, is held out. ``on_epoch``
    gets the number of the epoch, from 1, and the accuracy on the held-out images. Raise
    ``DataError`` for fewer than 256 images, or for rotations of images that are not square.
    """
    random = np.random.default_rng(seed)
    task: Task = "labels"
    names, images, labels = data.class_names, data.images, data.labels
    if labels is not None:
        images, labels = images[labels >= 0], labels[labels >= 0]
    if labels is None or len(labels) < MIN_IMAGES or len(np.unique(labels)) < 2:
        task, names = "rotations", ROTATIONS
        images, labels = turned(data.images, random)
    num_held_out = len(images) // 10
    num_steps = epochs * ((len(images) - num_held_out) // BATCH_SIZE)
    model = build_classifier(images.shape[1:], len(names), seed)
    trained, found = compiled(model, num_steps), 0.0
    for epoch in range(1, epochs + 1):
        for rows in shuffled(num_held_out, len(images), random):
            trained.train_on_batch(scale(images[rows]), labels[rows])
        found = accuracy(trained, images[:num_held_out], labels[:num_held_out])
        on_epoch(epoch, found)
    return Classifier(model, task, names, found)


def turned(
    images: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return each of ``images`` ``[N, H, H, C]`` turned by 0 to 3 quarter turns, and that number.

    Raise ``DataError`` for fewer than 256 images, or if they are not square.
    """
    if images.shape[1] != images.shape[2]:
        raise DataError(
            f"images are {images.shape[1]}x{images.shape[2]} (height x width), and fewer than"
            f" {MIN_IMAGES} have one of several classes; expected classes or square images to learn"
            " features. Pack them with --size, or use --features inception"
        )
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"{counted(len(images), 'image')}; expected at least {MIN_IMAGES} to train a"
            " classifier. Pack more images, or use --features inception"
        )
    turns = random.integers(0, len(ROTATIONS), len(images), dtype=np.int32)
    return np.stack([np.rot90(*pair) for pair in zip(images, turns, strict=True)]), turns


def compiled(model: keras.Model, num_steps: int) -> keras.Model:
    """Return the model from images to logits, ready for ``num_steps`` steps of training."""
    trained = keras.Model(model.inputs, model.outputs[1])
    trained.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, num_steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # XLA takes three times as long a step on a CPU
    )
    return trained


def shuffled(first: int, stop: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the rows ``first ... stop - 1`` in random order, in whole batches of 128."""
    order = first + random.permutation(stop - first)
    for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


def accuracy(trained: keras.Model, images: NDArray[np.uint8], labels: NDArray[np.integer]) -> float:
    """Return the share of ``images`` whose largest logit is that of their label."""
    logits = np.concatenate(
        [
            trained.predict_on_batch(scale(images[first : first + 1024]))
            for first in range(0, len(images), 1024)
        ]
    )
    return float((logits.argmax(axis=1) == labels).mean())


def scale(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels 0..255 as float32 in [-1, 1]."""
    return images.astype(np.float32) / 127.5 - 1.0
