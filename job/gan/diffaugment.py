"""Differentiable augmentation of everything that D sees, real and fake, in both updates.

With few images D learns them by heart. Zhao et al. 2020, "Differentiable Augmentation for
Data-Efficient GAN Training" (arXiv:2006.10738; reference: mit-han-lab/data-efficient-gans): shift,
cut out a square, change colours. As in Karras et al. 2020 (arXiv:2006.06676) each of the three is
applied to an image with a probability; 1 is DiffAugment. Pure functions of an image and its
numbers. Products with shift matrices instead of gathers: gradients of gathers add up in no fixed
order on a GPU. Suffixes: B images, N numbers of each.
"""

import tensorflow as tf

from job.config.objective import AugmentSpec

NUMBERS = 10  # uniform numbers for each image


def augment(
    images: tf.Tensor, numbers: tf.Tensor, probability: float | tf.Tensor, spec: AugmentSpec
) -> tf.Tensor:
    """Return augmented ``images``, float32 ``[B, H, W, C]`` in about [-1, 1].

    ``numbers`` are uniform in [0, 1), float32 ``[B, 10]``. Cut out and shifted in is 0, mid-grey.
    """
    chosen = tf.cast(numbers[:, :3] < probability, tf.float32)
    if spec.color > 0:
        images = change_colors(images, numbers[:, 3:6], spec.color * chosen[:, 0])
    if spec.translation > 0:
        images = shift(images, numbers[:, 6:8], spec.translation * chosen[:, 1])
    if spec.cutout > 0:
        images = cut_out(images, numbers[:, 8:10], spec.cutout, chosen[:, 2])
    return images


def change_colors(images: tf.Tensor, numbers: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Change brightness by up to 0.5, saturation by a factor of 0 to 2, contrast of 0.5 to 1.5.

    ``numbers`` ``[B, 3]``, one for each; ``strength`` ``[B]`` scales all, 1 is the paper's.
    """
    offsets = (numbers - 0.5) * strength[:, None]
    brightness, saturation, contrast = (offsets[:, i, None, None, None] for i in range(3))
    images = images + brightness
    if images.shape[-1] > 1:
        grey = tf.reduce_mean(images, axis=3, keepdims=True)
        images = grey + (images - grey) * (1.0 + 2.0 * saturation)
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * (1.0 + contrast)


def shift(images: tf.Tensor, numbers: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Shift by whole pixels, up to ``share`` ``[B]`` of a side, down and right by ``numbers``."""
    _, height, width, channels = images.shape
    down, right = (
        _shift_matrix(side, numbers[:, axis], share) for axis, side in enumerate((height, width))
    )
    rows = tf.matmul(down, tf.reshape(images, [-1, height, width * channels]))
    columns = tf.transpose(tf.reshape(rows, [-1, height, width, channels]), [0, 2, 1, 3])
    columns = tf.matmul(right, tf.reshape(columns, [-1, width, height * channels]))
    return tf.transpose(tf.reshape(columns, [-1, width, height, channels]), [0, 2, 1, 3])


def _shift_matrix(side: int, numbers: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Return ``[B, side, side]``: 1 at (i, j) if row j moves to row i."""
    limit = tf.floor(share * side + 0.5)
    distance = tf.floor(numbers * (2.0 * limit + 1.0)) - limit
    places = tf.range(side, dtype=tf.float32)
    return tf.cast(places[:, None] - places[None] == distance[:, None, None], tf.float32)


def cut_out(images: tf.Tensor, numbers: tf.Tensor, share: float, chosen: tf.Tensor) -> tf.Tensor:
    """Set a rectangle of ``share`` of each side to 0, around a place anywhere in the image."""
    inside = []
    for axis, side in enumerate(images.shape[1:3]):
        size = int(side * share + 0.5)
        first = tf.floor(numbers[:, axis] * (side + 1 - size % 2)) - size // 2
        places = tf.range(side, dtype=tf.float32)[None] - first[:, None]
        inside.append(tf.cast((places >= 0) & (places < size), tf.float32))
    square = inside[0][:, :, None] * inside[1][:, None] * chosen[:, None, None]
    return images * (1.0 - square[..., None])
