"""One training step of one replica, as a function of real images and their place in the batch.

Knows nothing of K steps per call, input pipelines or checkpoints. Losses are sums over the
replica's samples divided by the *global* batch, so that sums over replicas (which Keras optimizers
compute) are means over the global batch. Suffixes: B replica batch.
"""

from collections.abc import Callable

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.discriminator_loss import (
    Rules,
    build_rules,
    discriminate,
    draw,
    judgements,
    mean_of_terms,
    overfitting_share,
    with_penalties,
)
from job.gan.networks import Networks, generator_weights
from job.gan.noise import BatchSlice
from job.gan.streams import Purpose

# A gradient's norm is the sum over replicas of the norms of their parts: the norm itself with one
# replica, never less than it with more.
METRICS = (
    "discriminator_loss",
    "generator_loss",
    "real_probability",
    "fake_probability",
    "discriminator_accuracy",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
)
# One replica's shares of the metrics, and its time for gradients without the wait for others.
MEASURES = (*METRICS, "compute_seconds")


Step = Callable[[tf.Tensor, BatchSlice], tf.Tensor]


def build_step(spec: RunSpec, networks: Networks, noise_stream: int = 0) -> Step:
    """Return ``step(real uint8 [B, H, W, C], batch_slice) -> float32 [8]``: the ``MEASURES``.

    Their sums over replicas are the ``METRICS``. Noise streams have no numbers in common; a run
    that rolls back uses another one.
    """
    rules = build_rules(spec, networks, noise_stream)
    build = _alternating if spec.training.updates == "alternating" else _simultaneous
    return build(rules, networks)


def decode(images: tf.Tensor) -> tf.Tensor:
    """Map pixels 0..255, uint8, to [-1, 1], float32: the range of the generator's tanh."""
    return tf.cast(images, tf.float32) * (1.0 / 127.5) - 1.0


def encode(images: tf.Tensor) -> tf.Tensor:
    """Map [-1, 1] to pixels 0..255, uint8, rounded to the nearest."""
    return tf.cast(tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


def _alternating(rules: Rules, networks: Networks) -> Step:
    """Update D on fake and real images; then G, on fresh latents (the notebook and the paper)."""
    spec, noise, objective, augmentation = (
        rules.spec,
        rules.noise,
        rules.objective,
        rules.augmentation,
    )
    generator, discriminator = networks.generator, networks.discriminator
    batch = spec.training.global_batch_size

    @_compiled(spec)
    def discriminator_gradients(real, latents, draws, step):
        fake = augmentation.apply(generator(latents, training=True), draws.fake)
        real = augmentation.apply(real, draws.real)
        with tf.GradientTape() as tape:
            logits = discriminate(spec, discriminator, fake, real, draws.masks)
            loss = mean_of_terms(objective, logits, batch)
            total = with_penalties(rules, loss, real, fake, draws, step)
        metrics = [loss, *judgements(logits, batch)]
        return (
            tape.gradient(total, _weights(discriminator)),
            metrics,
            overfitting_share(rules, logits),
        )

    @_compiled(spec)
    def generator_gradients(latents, masks, fake_draw, real, real_masks, real_draw):
        real_logits = None
        if objective.uses_pairs:
            real = augmentation.apply(real, real_draw)
            real_logits = discriminator([real, *real_masks], training=True)
        with tf.GradientTape() as tape:
            fake = augmentation.apply(generator(latents, training=True), fake_draw)
            logits = discriminator([fake, *masks], training=True)
            loss = tf.reduce_sum(objective.generator_loss(real_logits, logits)) / batch
        return tape.gradient(loss, _weights(generator)), loss

    def step(images: tf.Tensor, at: BatchSlice) -> tf.Tensor:
        begun = _time_after(images, _weights(generator)[-1].read_value())
        num_images = images.shape[0]
        latents = noise.latents(Purpose.LATENTS_DISCRIMINATOR, at, num_images)
        real = noise.flip(decode(images), at)
        gradients, (d_loss, *judged), share = discriminator_gradients(
            real, latents, draw(rules, at, num_images), at.step
        )
        d_norm, computing = tf.linalg.global_norm(gradients), _time_after(*gradients) - begun
        networks.discriminator_optimizer.apply(gradients, discriminator.trainable_variables)
        augmentation.update(share, at.step)
        begun = _time_after(_weights(discriminator)[-1].read_value())
        latents = noise.latents(Purpose.LATENTS_GENERATOR, at, num_images)
        masks = noise.masks(Purpose.DROPOUT_GENERATOR, at, num_images)
        real_masks, real_draw = [], None
        if objective.uses_pairs:
            real_masks = noise.masks(Purpose.DROPOUT_GENERATOR_REAL, at, num_images)
            real_draw = augmentation.draw(Purpose.AUGMENT_GENERATOR_REAL, at, num_images)
        fake_draw = augmentation.draw(Purpose.AUGMENT_GENERATOR, at, num_images)
        gradients, g_loss = generator_gradients(
            latents, masks, fake_draw, real, real_masks, real_draw
        )
        computing += _time_after(*gradients) - begun
        networks.generator_optimizer.apply(gradients, generator.trainable_variables)
        _average_generator(networks, rules.schedules.ema_decay(at.step))
        g_norm, computing = tf.linalg.global_norm(gradients), tf.cast(computing, tf.float32)
        return tf.stack([d_loss, g_loss, *judged, d_norm, g_norm, computing])

    return step


def _simultaneous(rules: Rules, networks: Networks) -> Step:
    """Update both from one forward and one backward pass through D.

    See ``Objective.fake_gradient_ratio``. It holds for each sample as long as D treats samples
    separately, that is without batch normalization in D.
    """
    spec, noise, objective, augmentation = (
        rules.spec,
        rules.noise,
        rules.objective,
        rules.augmentation,
    )
    if objective.fake_gradient_ratio is None:
        raise ValueError("simultaneous updates need an objective with a fake_gradient_ratio")
    ratio = objective.fake_gradient_ratio
    generator, discriminator = networks.generator, networks.discriminator
    batch = spec.training.global_batch_size

    @_compiled(spec)
    def both_gradients(real, latents, draws, step):
        real = augmentation.apply(real, draws.real)
        with tf.GradientTape() as generator_tape:
            fake = augmentation.apply(generator(latents, training=True), draws.fake)
        with tf.GradientTape() as tape:
            tape.watch(fake)
            logits = discriminate(spec, discriminator, fake, real, draws.masks)
            d_loss = mean_of_terms(objective, logits, batch)
            total = with_penalties(rules, d_loss, real, fake, draws, step)
        *d_gradients, at_fake = tape.gradient(total, [*_weights(discriminator), fake])
        # Penalties have no gradient at the fakes, and D's loss is the mean of its terms.
        factor = objective.num_terms * ratio(*logits)
        g_gradients = generator_tape.gradient(
            fake, _weights(generator), output_gradients=at_fake * factor[:, None, None, None]
        )
        g_loss = tf.reduce_sum(objective.generator_loss(*logits)) / batch
        metrics = [d_loss, g_loss, *judgements(logits, batch)]
        return d_gradients, g_gradients, metrics, overfitting_share(rules, logits)

    def step(images: tf.Tensor, at: BatchSlice) -> tf.Tensor:
        begun = _time_after(images, _weights(generator)[-1].read_value())
        num_images = images.shape[0]
        latents = noise.latents(Purpose.LATENTS_GENERATOR, at, num_images)
        real = noise.flip(decode(images), at)
        d_gradients, g_gradients, metrics, share = both_gradients(
            real, latents, draw(rules, at, num_images), at.step
        )
        computing = tf.cast(_time_after(*d_gradients, *g_gradients) - begun, tf.float32)
        networks.discriminator_optimizer.apply(d_gradients, discriminator.trainable_variables)
        networks.generator_optimizer.apply(g_gradients, generator.trainable_variables)
        augmentation.update(share, at.step)
        _average_generator(networks, rules.schedules.ema_decay(at.step))
        norms = tf.linalg.global_norm(d_gradients), tf.linalg.global_norm(g_gradients)
        return tf.stack([*metrics, *norms, computing])

    return step


def _time_after(*values: tf.Tensor) -> tf.Tensor:
    """Return the time, float64 seconds, when all of these are computed.

    A weight can be read once the optimizer is done with it. Always 0 with a GPU: there an
    operation ends for TensorFlow when its kernel is launched.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.constant(0.0, tf.float64)
    with tf.control_dependencies(values):
        return tf.timestamp()


def _weights(network) -> list:
    """Return the trainable weights as TensorFlow's variables, which a gradient tape knows."""
    return [variable.value for variable in network.trainable_variables]


def _average_generator(networks: Networks, decay: float | tf.Tensor) -> None:
    """ema := decay * ema + (1 - decay) * weight, of this replica's moving statistics, too."""
    weights = generator_weights(networks.generator)
    for average, weight in zip(networks.ema, weights, strict=bool(networks.ema)):
        average.assign(decay * average + (1.0 - decay) * weight.value)


def _compiled(spec: RunSpec):
    """Compile gradients with XLA if configured; collective operations do not go into XLA."""
    return tf.function(jit_compile=True) if spec.training.jit_compile else lambda function: function
