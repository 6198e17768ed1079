"""Images by index: each a function of seed and index alone, in blocks made by several threads."""

import keras
import numpy as np
import pytest

from job.synthesis.classes import ClassPlan
from job.synthesis.images import Sampler
from job.synthesis.plan import IndexRange
from tests.synthesis.runs import whole

pytestmark = pytest.mark.training


def test_an_image_depends_on_seed_and_index_alone(generator) -> None:
    images = whole(generator, 3, 200)
    assert images.shape == (200, 28, 28, 1)
    assert images.dtype == np.uint8
    for num_images, start in ((1, 0), (1, 199), (64, 64), (70, 60), (5, 127)):
        assert np.array_equal(
            whole(generator, 3, num_images, start), images[start : start + num_images]
        )
    assert not np.array_equal(whole(generator, 4, 1), images[:1])
    assert len({image.tobytes() for image in images}) == 200


def test_ranges_are_cut_where_they_end_and_keep_their_order(generator) -> None:
    ranges = [IndexRange(10, 70), IndexRange(200, 201), IndexRange(128, 192)]
    with Sampler(generator, 0, num_threads=3) as sampler:
        found = list(sampler.blocks(ranges, lambda block: block))
    assert [(block.first_index, len(block.images)) for block in found] == [
        (10, 54),
        (64, 6),
        (200, 1),
        (128, 64),
    ]
    images = whole(generator, 0, 201)
    for block in found:
        first = block.first_index
        assert np.array_equal(block.images, images[first : first + len(block.images)])


def test_an_error_in_a_thread_reaches_the_caller(generator) -> None:
    def fail(block):
        raise OSError("no room")

    with Sampler(generator, 0) as sampler, pytest.raises(OSError, match="no room"):
        list(sampler.blocks([IndexRange(0, 1000)], fail))


def test_a_conditional_generator_gets_each_image_s_class() -> None:
    """The generator paints class k in grey 10 k, so that the images show their class."""
    latents, labels = keras.Input((4,)), keras.Input((), dtype="int32")
    grey = keras.layers.Rescaling(10 / 127.5, -1.0)(labels)
    image = keras.layers.Reshape((1, 1, 1))(grey)
    image = keras.layers.Add()([image, keras.layers.Reshape((2, 2, 1))(latents * 0.0)])
    painter = keras.Model([latents, labels], image)
    names, rows = ("a", "b", "c"), (10, 70, 20)
    for plan in (ClassPlan(names, rows), ClassPlan(names, rows, (1,))):
        with Sampler(painter, 0, classes=plan) as sampler:
            blocks = list(sampler.blocks([IndexRange(5, 150)], lambda block: block))
        shown = np.concatenate([block.images[:, 0, 0, 0] for block in blocks])
        expected = plan.labels(5, 145)
        assert set(expected.tolist()) == ({1} if plan.turn else {0, 1, 2})
        assert np.array_equal(shown, 10 * expected)
        assert np.array_equal(np.concatenate([block.labels for block in blocks]), expected)
