"""The generator: the notebook's layers, the presets' sizes, and sub-pixel upsampling."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.config.load import load_run
from job.gan.generator import build_generator
from tests.gan.tiny import small

pytestmark = pytest.mark.training


def test_the_notebooks_generator_layer_by_layer() -> None:
    keras.utils.clear_session()  # Keras numbers layers without a name
    generator = build_generator(load_run("notebook", overrides=["uri=a", "data.uri=b"]).model, 0)
    assert [(layer.name, tuple(layer.output.shape[1:])) for layer in generator.layers] == [
        ("latents", (100,)),
        ("project", (6272,)),
        ("map", (7, 7, 128)),
        ("project_norm", (7, 7, 128)),
        ("upsample_1", (14, 14, 64)),
        ("activation", (14, 14, 64)),
        ("upsample_1_norm", (14, 14, 64)),
        ("image", (28, 28, 1)),
        ("image_range", (28, 28, 1)),
    ]
    # 100*6272+6272 dense, 2 norms of 4 per channel,
    # 5*5*128*64+64 and 5*5*64*1+1 transposed convolutions.
    assert generator.count_params() == 633_472 + 4 * 128 + 204_864 + 4 * 64 + 1_601


@pytest.mark.parametrize("preset", ["notebook", "fashion", "small64", "dcgan32", "dcgan64"])
def test_a_preset_builds_images_of_its_size_in_range(preset: str) -> None:
    model = load_run(preset, overrides=["uri=a", "data.uri=b"]).model
    made = build_generator(model, 0)(
        tf.random.stateless_normal([2, model.generator.latent_size], [1, 2]), training=False
    )
    assert made.shape == (2, *model.image_size, model.channels)
    assert made.dtype == tf.float32
    assert float(tf.reduce_max(tf.abs(made))) <= 1


def test_subpixel_upsampling_is_depth_to_space() -> None:
    spec = small(
        "model.generator.upsampling=subpixel",
        "model.generator.kernel_size=3",
        "model.generator.normalize=none",
    )
    generator = build_generator(spec.model, 0)
    x = tf.random.stateless_normal([2, 7, 7, 4 * 8], [1, 2])
    split, interleave, join = (
        generator.get_layer(f"upsample_1_{name}") for name in ("split", "interleave", "join")
    )
    assert np.array_equal(join(interleave(split(x))), tf.nn.depth_to_space(x, 2))


def test_a_class_is_embedded_beside_the_latents() -> None:
    model = small("model.generator.normalize=none").model
    generator = build_generator(model, 0, num_classes=3)
    latents, labels = tf.random.stateless_normal([4, 8], [1, 2]), tf.constant([0, 2, 1, 2])
    weights = {weight.path: weight.numpy() for weight in generator.weights}
    embedding = weights["class_embedding/kernel"]
    np.testing.assert_allclose(embedding @ embedding.T, np.eye(3), atol=1e-6)
    inside = keras.Model(generator.inputs, generator.get_layer("project").output)
    both = np.concatenate([latents, embedding[labels.numpy()]], axis=1)
    np.testing.assert_allclose(
        inside([latents, labels]), both @ weights["project/kernel"], rtol=1e-4, atol=1e-5
    )


def test_embeddings_of_many_classes_are_as_long_as_the_latents() -> None:
    model = small().model
    (embedding,) = build_generator(model, 0, num_classes=20).get_layer("class_embedding").weights
    assert embedding.shape == (20, 8)
    assert np.mean(np.square(embedding).sum(axis=1)) == pytest.approx(1, abs=1e-5)


def test_a_class_with_the_latents_decides_the_image() -> None:
    generator = build_generator(small().model, 0, num_classes=3)
    latents = tf.repeat(tf.random.stateless_normal([1, 8], [1, 2]), 3, axis=0)
    one, other, again = generator([latents, tf.constant([0, 2, 0])], training=False).numpy()
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
