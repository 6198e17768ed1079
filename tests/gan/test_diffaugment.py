"""Differentiable augmentation: what each change does, to which images, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

from job.config.objective import AugmentSpec
from job.gan.diffaugment import NUMBERS, augment, change_colors, cut_out, shift
from job.gan.streams import uniform_rows

pytestmark = pytest.mark.training

ALL = AugmentSpec()


def pixels(count: int = 6, channels: int = 3) -> tf.Tensor:
    return tf.random.stateless_uniform([count, 12, 16, channels], [1, 2], -1.0, 1.0)


def numbers(*rows: tuple[float, ...]) -> tf.Tensor:
    return tf.constant(rows, tf.float32)


def drawn(count: int, first: int = 0) -> tf.Tensor:
    step, index = (tf.constant(number, tf.int64) for number in (3, first))
    return uniform_rows(1, 5, step, index, count, NUMBERS)


def test_images_move_by_whole_pixels_and_leave_zeros() -> None:
    images = pixels(3)
    moved = shift(images, numbers((0.5, 0.5), (0.0, 0.5), (0.99, 0.99)), tf.fill([3], 0.25))
    assert np.array_equal(moved[0], images[0])  # the middle of -3 ... 3 down, of -4 ... 4 right
    assert np.array_equal(moved[1, :9], images[1, 3:])
    assert np.array_equal(moved[1, 9:], np.zeros((3, 16, 3)))
    assert np.array_equal(moved[2, 3:, 4:], images[2, :9, :12])
    assert not np.any(moved[2, :3])
    assert not np.any(moved[2, :, :4])


def test_every_shift_up_to_the_limit_is_equally_likely() -> None:
    places = tf.linspace(0.0, 0.99999, 700)
    images = tf.repeat(pixels(1), 700, axis=0)
    moved = shift(images, tf.stack([places, tf.fill([700], 0.5)], axis=1), tf.fill([700], 0.25))
    _, counts = np.unique(np.asarray(moved).reshape(700, -1), axis=0, return_counts=True)
    assert counts.tolist() == [100] * 7


def test_a_square_is_cut_out() -> None:
    images = pixels(2)
    cut = cut_out(images, numbers((0.5, 0.5), (0.0, 0.99)), 0.5, tf.constant([1.0, 1.0]))
    expected = images.numpy()
    expected[0, 3:9, 4:12] = 0
    expected[1, :3, 12:] = 0  # around the corner: a quarter of the square
    assert np.array_equal(cut, expected)
    assert np.array_equal(cut_out(images, numbers((0.5, 0.5)), 0.5, tf.zeros(2)), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_by_the_papers_formulas(channels: int) -> None:
    images = pixels(1, channels)
    brightness, saturation, contrast = 0.9, 0.2, 0.7
    x = images.numpy() + (brightness - 0.5)
    x = (x - x.mean(axis=3, keepdims=True)) * 2 * saturation + x.mean(axis=3, keepdims=True)
    x = (x - x.mean()) * (contrast + 0.5) + x.mean()
    found = change_colors(images, numbers((brightness, saturation, contrast)), tf.ones(1))
    if channels == 1:  # grey has no saturation
        x = images.numpy() + (brightness - 0.5)
        x = (x - x.mean()) * (contrast + 0.5) + x.mean()
    np.testing.assert_allclose(found, x, atol=1e-6)


def test_each_change_has_its_probability() -> None:
    images = tf.repeat(pixels(1), 400, axis=0)
    only = {"translation": 0.0, "cutout": 0.0, "color": 0.0}
    for name in only:
        own = ALL.replace(**(only | {name: getattr(ALL, name)}))
        change = np.abs(augment(images, drawn(400), tf.constant(0.3), own) - images)
        share = (change.max(axis=(1, 2, 3)) > 1e-5).mean()
        assert 0.2 < share < 0.37, name
    unchanged = augment(images, drawn(400), tf.constant(0.0), ALL)
    np.testing.assert_allclose(unchanged, images, atol=1e-6)


def test_an_image_is_changed_by_its_own_numbers() -> None:
    images = pixels(6)
    whole = augment(images, drawn(6), tf.constant(0.7), ALL)
    part = augment(images[4:], drawn(2, first=4), tf.constant(0.7), ALL)
    np.testing.assert_allclose(part, whole[4:], atol=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    images, direction = pixels(2), pixels(4)[2:]
    weights = tf.random.stateless_normal(images.shape, [5, 6])

    def value(images: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(weights * augment(images, drawn(2), tf.constant(1.0), ALL))

    with tf.GradientTape() as tape:
        tape.watch(images)
        result = value(images)
    found = float(tf.reduce_sum(tape.gradient(result, images) * direction))
    # Linear in the image: any step is exact but for rounding.
    expected = float(value(images + direction) - value(images - direction)) / 2
    assert found == pytest.approx(expected, rel=1e-3)
    assert abs(found) > 1e-2
