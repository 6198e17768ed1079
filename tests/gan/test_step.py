"""One training step: its gradients, its metrics, and what a decoded pixel is."""

import numpy as np
import pytest
import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.discriminator import dropout_masks
from job.gan.latents import sample_latents, with_labels
from job.gan.networks import build_networks, generator_weights
from job.gan.objectives.non_saturating import non_saturating
from job.gan.step import MEASURES, build_step, decode, encode
from job.gan.streams import Purpose
from tests.gan.tiny import at, images, small

pytestmark = pytest.mark.training


def test_pixels_survive_decoding_and_encoding() -> None:
    every_value = tf.reshape(tf.range(256), [1, 16, 16, 1])
    decoded = decode(tf.cast(every_value, tf.uint8))
    assert (float(tf.reduce_min(decoded)), float(tf.reduce_max(decoded))) == (-1.0, 1.0)
    assert np.array_equal(encode(decoded), every_value)


@pytest.mark.parametrize("labels", [None, [0, 2, 1, 2, 1, 1, 0, 0]])
def test_a_simultaneous_step_moves_both_networks_as_separate_passes_would(
    labels: list[int] | None,
) -> None:
    """Compare the shared pass with SGD by hand from two plain tapes, over the first step."""
    spec = small(
        "training.updates=simultaneous", "model.generator.normalize=none", preset="fashion"
    )
    num_classes, given = (0, []) if labels is None else (3, [tf.constant(labels)])
    networks, reference = build_networks(spec, num_classes), build_networks(spec, num_classes)
    real = images(8)
    with tf.GradientTape(persistent=True) as tape:
        fake = reference.generator(with_labels(_latents(spec), *given), training=True)
        fake_logits = reference.discriminator(
            [fake, *_masks(spec, reference, Purpose.DROPOUT_FAKE), *given]
        )
        real_logits = reference.discriminator(
            [decode(real), *_masks(spec, reference, Purpose.DROPOUT_REAL), *given]
        )
        objective = non_saturating(spec.training.real_label)
        terms = objective.discriminator_terms(real_logits, fake_logits)
        d_loss = tf.reduce_mean(terms)
        g_loss = tf.reduce_mean(objective.generator_loss(real_logits, fake_logits))
    norms = []
    for loss, network, optimizer in (
        (d_loss, reference.discriminator, reference.discriminator_optimizer),
        (g_loss, reference.generator, reference.generator_optimizer),
    ):
        weights = network.trainable_variables
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        norms.append(tf.linalg.global_norm(gradients))
        optimizer.apply(gradients, weights)
    metrics = dict(
        zip(MEASURES, build_step(spec, networks)(real, at(2, 0, labels)).numpy(), strict=True)
    )
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
    # Errors relative to the tensor's largest element: a bias's gradient is a sum that cancels. The
    # images in another order change a small element of it by 5e-4, but by 3e-6 of the largest.
    for optimizer, expected in (
        (networks.generator_optimizer, reference.generator_optimizer),
        (networks.discriminator_optimizer, reference.discriminator_optimizer),
    ):
        for a, b in zip(optimizer._momentums, expected._momentums, strict=True):
            largest = np.abs(b.numpy()).max()
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize(
    ("preset", "labels"),
    [
        pytest.param("notebook", None, marks=pytest.mark.live),
        pytest.param("notebook", [0, 1] * 4, marks=pytest.mark.live),
        ("fashion", None),
    ],
)
def test_xla_computes_the_same_step(preset: str, labels: list[int] | None) -> None:
    plain, compiled = small(preset=preset), small("training.jit_compile=true", preset=preset)
    results = []
    for spec in (plain, compiled):
        step = build_step(spec, build_networks(spec, 2 if labels else 0))
        results.append(tf.function(lambda step=step: step(images(8), at(2, 0, labels)))())
    np.testing.assert_allclose(results[0][:-1], results[1][:-1], rtol=1e-4)  # the last is a time


def test_a_step_in_bfloat16_is_finite_and_close_to_one_in_float32() -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        spec = small(f"training.precision={precision}", preset="fashion")
        networks = build_networks(spec)
        metrics = build_step(spec, networks)(images(8), at(0))
        assert np.isfinite(metrics).all()
        assert {weight.dtype for weight in networks.generator.weights} == {"float32"}
        losses.append(metrics.numpy()[:2])
    np.testing.assert_allclose(*losses, rtol=0.03)
    assert not np.array_equal(*losses)


def test_the_average_follows_the_weights() -> None:
    average = "training.ema_half_life_images=null"
    spec = small("training.ema_decay=0.75", average, preset="fashion")
    networks = build_networks(spec)
    weights = generator_weights(networks.generator)
    before = [weight.numpy() for weight in weights]
    build_step(spec, networks)(images(8), at(0))
    for old, new, average in zip(before, weights, networks.ema, strict=True):
        np.testing.assert_allclose(average, 0.75 * old + 0.25 * new.numpy(), rtol=1e-5, atol=1e-8)


def test_metrics_are_named_and_probabilities() -> None:
    spec = small()
    metrics = dict(
        zip(MEASURES, build_step(spec, build_networks(spec))(images(8), at(0)).numpy(), strict=True)
    )
    assert 0 < metrics["real_probability"] < 1
    assert 0 < metrics["fake_probability"] < 1
    assert metrics["discriminator_accuracy"] in [right / 8 for right in range(9)]
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
    return sample_latents(
        spec.seed, Purpose.LATENTS_GENERATOR, *at(2).place, 8, spec.model.generator.latent_size
    )


def _masks(spec: RunSpec, networks, purpose: Purpose) -> list[tf.Tensor]:
    return dropout_masks(
        networks.discriminator,
        spec.model.discriminator.dropout,
        spec.seed,
        purpose,
        *at(2).place,
        8,
    )


@pytest.mark.parametrize(
    "settings",
    [
        ["training.objective.name=relativistic", "training.objective.r2_gamma=0.5"],
        ["training.objective.name=hinge", "model.discriminator.spectral_norm=true"],
        ["training.objective.name=wasserstein", "training.objective.gradient_penalty=10"],
        ["training.updates=simultaneous", "training.augment.mode=fixed"],
    ],
    ids=lambda settings: settings[0],
)
def test_every_objective_and_penalty_trains_what_depends_on_classes(settings: list[str]) -> None:
    """Only the classes of the batch: the rows of another class keep their weights."""
    spec = small("training.objective.r1_gamma=0.5", *settings)
    networks = build_networks(spec, 4)
    embedding, projection = (
        network.get_layer(name).kernel
        for network, name in (
            (networks.generator, "class_embedding"),
            (networks.discriminator, "projection"),
        )
    )
    before = embedding.numpy(), projection.numpy()
    metrics = build_step(spec, networks)(images(8), at(0, 0, [0, 2, 3, 2, 3, 3, 0, 0]))
    assert np.isfinite(metrics).all()
    moved = np.not_equal(before[0], embedding).any(axis=1), np.not_equal(before[1], projection)
    assert moved[0].tolist() == [True, False, True, True]
    if not spec.model.discriminator.spectral_norm:  # which couples all of a kernel
        assert moved[1].any(axis=0).tolist() == [True, False, True, True]
