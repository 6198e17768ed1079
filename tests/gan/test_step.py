"""One training step: the notebook's networks, the gradients, and what a decoded pixel is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from job.config.load import load_run
from job.config.spec import RunSpec
from job.gan import losses
from job.gan.discriminator import build_discriminator, dropout_masks
from job.gan.generator import build_generator
from job.gan.networks import build_networks
from job.gan.noise import BatchSlice
from job.gan.step import MEASURES, build_step, decode, encode
from job.gan.streams import Purpose

pytestmark = pytest.mark.training

SMALL = [
    "uri=runs",
    "data.uri=data",
    "workers.count=1",
    "training.global_batch_size=8",
    "model.generator.latent_size=8",
]
TINY_NETWORKS = ["model.generator.filters=[16, 8]", "model.discriminator.filters=[8, 16]"]


def small(*overrides: str, preset: str = "notebook") -> RunSpec:
    return load_run(preset, overrides=[*SMALL, *TINY_NETWORKS, *overrides])


def at(step: int, first: int = 0) -> BatchSlice:
    return BatchSlice(tf.constant(step, tf.int64), tf.constant(first, tf.int64))


def images(count: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), np.uint8))


def test_the_notebooks_networks_layer_by_layer() -> None:
    keras.utils.clear_session()  # Keras numbers layers without a name
    model = load_run("notebook", overrides=["uri=a", "data.uri=b"]).model
    generator, discriminator = build_generator(model, 0), build_discriminator(model, 0)
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
    assert discriminator.count_params() == (25 * 64 + 64) + (25 * 64 * 128 + 128) + (
        7 * 7 * 128 + 1
    )
    assert [tuple(mask.shape[1:]) for mask in discriminator.inputs[1:]] == [
        (14, 14, 64),
        (7, 7, 128),
    ]


@pytest.mark.parametrize("preset", ["notebook", "fashion", "dcgan32", "dcgan64"])
def test_a_preset_builds_images_of_its_size_in_range(preset: str) -> None:
    model = load_run(preset, overrides=["uri=a", "data.uri=b"]).model
    made = build_generator(model, 0)(
        tf.random.stateless_normal([2, model.generator.latent_size], [1, 2]), training=False
    )
    assert made.shape == (2, *model.image_size, model.channels)
    assert made.dtype == tf.float32
    assert float(tf.reduce_max(tf.abs(made))) <= 1


def test_equal_seeds_build_equal_weights_and_other_seeds_others() -> None:
    first, again, other = (build_networks(small(f"seed={seed}")) for seed in (3, 3, 4))
    for a, b in zip(first.generator.get_weights(), again.generator.get_weights(), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(first.generator.get_weights()[0], other.generator.get_weights()[0])


def test_pixels_survive_decoding_and_encoding() -> None:
    every_value = tf.reshape(tf.range(256), [1, 16, 16, 1])
    decoded = decode(tf.cast(every_value, tf.uint8))
    assert (float(tf.reduce_min(decoded)), float(tf.reduce_max(decoded))) == (-1.0, 1.0)
    assert np.array_equal(encode(decoded), every_value)


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


def test_dropout_masks_are_a_function_of_the_sample() -> None:
    discriminator = build_discriminator(small().model, 0)
    whole = dropout_masks(discriminator, 0.3, 1, Purpose.DROPOUT_FAKE, *at(9), 8)
    second_half = dropout_masks(discriminator, 0.3, 1, Purpose.DROPOUT_FAKE, *at(9, 4), 4)
    for a, b in zip(whole, second_half, strict=True):
        assert np.array_equal(a[4:], b)
        assert set(np.unique(a)) == {np.float32(0), np.float32(1 / 0.7)}
        assert abs(float(tf.reduce_mean(tf.cast(a == 0, tf.float32))) - 0.3) < 0.03


def test_one_backward_pass_gives_both_gradients_at_the_fakes() -> None:
    discriminator = build_discriminator(small("model.discriminator.dropout=0").model, 0)
    fake = tf.random.stateless_normal([6, 28, 28, 1], [3, 4]) * 4
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(fake)
        logits = discriminator(fake)
        d_loss, g_loss = (
            tf.reduce_sum(losses.discriminator_loss_fake(logits)),
            tf.reduce_sum(losses.generator_loss(logits)),
        )
    scaled = (
        tape.gradient(d_loss, fake)
        * losses.generator_over_discriminator_gradient(logits)[:, None, None, None]
    )
    np.testing.assert_allclose(
        scaled, tape.gradient(g_loss, fake), rtol=1e-5, atol=1e-8
    )  # entries near 0 are sums that cancel


def test_a_simultaneous_step_moves_both_networks_as_separate_passes_would() -> None:
    """Compare the shared pass with SGD by hand from two plain tapes, over the first step."""
    spec = small(
        "training.updates=simultaneous", "model.generator.normalize=none", preset="fashion"
    )
    networks, reference = build_networks(spec), build_networks(spec)
    real = images(8)
    with tf.GradientTape(persistent=True) as tape:
        fake = reference.generator(_latents(spec), training=True)
        fake_logits = reference.discriminator(
            [fake, *_masks(spec, reference, Purpose.DROPOUT_FAKE)]
        )
        real_logits = reference.discriminator(
            [decode(real), *_masks(spec, reference, Purpose.DROPOUT_REAL)]
        )
        d_real = tf.reduce_mean(
            losses.discriminator_loss_real(real_logits, spec.training.real_label)
        )
        d_loss = (d_real + tf.reduce_mean(losses.discriminator_loss_fake(fake_logits))) / 2
        g_loss = tf.reduce_mean(losses.generator_loss(fake_logits))
    norms = []
    for loss, network, optimizer in (
        (d_loss, reference.discriminator, reference.discriminator_optimizer),
        (g_loss, reference.generator, reference.generator_optimizer),
    ):
        weights = network.trainable_variables
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        norms.append(tf.linalg.global_norm(gradients))
        optimizer.apply(gradients, weights)
    metrics = dict(zip(MEASURES, build_step(spec, networks)(real, at(2)).numpy(), strict=True))
    np.testing.assert_allclose(
        [metrics["discriminator_loss"], metrics["generator_loss"]], [d_loss, g_loss], rtol=1e-5
    )
    np.testing.assert_allclose(
        [metrics["discriminator_gradient_norm"], metrics["generator_gradient_norm"]],
        norms,
        rtol=1e-4,
    )
    # Adam's first moment after one step is (1 - beta_1) times the gradient.
    # Compare it: the update keeps little more than the gradient's sign.
    for optimizer, expected in (
        (networks.generator_optimizer, reference.generator_optimizer),
        (networks.discriminator_optimizer, reference.discriminator_optimizer),
    ):
        for a, b in zip(optimizer._momentums, expected._momentums, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("preset", ["notebook", "fashion"])
def test_xla_computes_the_same_step(preset: str) -> None:
    plain, compiled = small(preset=preset), small("training.jit_compile=true", preset=preset)
    results = []
    for spec in (plain, compiled):
        networks = build_networks(spec)
        step = build_step(spec, networks)
        results.append(tf.function(lambda step=step: step(images(8), at(2)))())
    np.testing.assert_allclose(results[0][:-1], results[1][:-1], rtol=1e-4)  # the last is a time


def test_bfloat16_keeps_float32_weights_and_logits() -> None:
    spec = small("training.precision=bfloat16", preset="fashion")
    networks = build_networks(spec)
    metrics = build_step(spec, networks)(images(8), at(0))
    assert {weight.dtype for weight in networks.generator.weights} == {"float32"}
    assert networks.discriminator.output.dtype == networks.generator.output.dtype == "float32"
    assert np.isfinite(metrics).all()


def test_the_average_follows_the_weights() -> None:
    spec = small("training.ema_decay=0.75", preset="fashion")
    networks = build_networks(spec)
    before = [weight.numpy() for weight in networks.generator.trainable_variables]
    build_step(spec, networks)(images(8), at(0))
    for old, new, average in zip(
        before, networks.generator.trainable_variables, networks.ema, strict=True
    ):
        np.testing.assert_allclose(average, 0.75 * old + 0.25 * new.numpy(), rtol=1e-5, atol=1e-8)


def test_metrics_are_named_and_probabilities() -> None:
    spec = small()
    metrics = dict(
        zip(MEASURES, build_step(spec, build_networks(spec))(images(8), at(0)).numpy(), strict=True)
    )
    assert 0 < metrics["real_probability"] < 1
    assert 0 < metrics["fake_probability"] < 1
    assert 0.3 < metrics["discriminator_loss"] < 2
    assert 0 < metrics["compute_seconds"] < 60


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_launches_of_kernels_are_not_taken_for_the_time_of_computing(
    updates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow's clock runs on the CPU; with a GPU it would say when a kernel was launched."""
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind=None: [object()] if kind == "GPU" else []
    )
    spec = small(f"training.updates={updates}")
    metrics = dict(
        zip(MEASURES, build_step(spec, build_networks(spec))(images(8), at(0)).numpy(), strict=True)
    )
    assert metrics["compute_seconds"] == 0
    assert metrics["discriminator_loss"] > 0


def test_another_noise_stream_is_other_noise_and_stream_0_is_the_seed_alone() -> None:
    spec = small()
    losses = [
        build_step(spec, build_networks(spec), *stream)(images(8), at(0)).numpy()[:2].tolist()
        for stream in ((), (0,), (1,), (2,))
    ]
    assert losses[0] == losses[1]
    assert len({tuple(loss) for loss in losses}) == 3


def _latents(spec: RunSpec) -> tf.Tensor:
    from job.gan.latents import sample_latents

    return sample_latents(
        spec.seed, Purpose.LATENTS_GENERATOR, *at(2), 8, spec.model.generator.latent_size
    )


def _masks(spec: RunSpec, networks, purpose: Purpose) -> list[tf.Tensor]:
    return dropout_masks(
        networks.discriminator, spec.model.discriminator.dropout, spec.seed, purpose, *at(2), 8
    )
