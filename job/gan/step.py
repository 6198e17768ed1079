"""One training step of one replica, as a function of real images and their place in the batch.

Knows nothing of K steps per call, input pipelines or checkpoints. Losses are sums over the
replica's samples divided by the *global* batch, so that sums over replicas (which Keras optimizers
compute) are means over the global batch. Suffixes: B replica batch.
"""

from collections.abc import Callable

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan import losses
from job.gan.networks import Networks
from job.gan.noise import BatchSlice, StepNoise
from job.gan.streams import Purpose

# A gradient's norm is the sum over replicas of the norms of their parts: the norm itself with one
# replica, never less than it with more.
METRICS = (
    "discriminator_loss",
    "generator_loss",
    "real_probability",
    "fake_probability",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
)
# One replica's shares of the metrics, and its time for gradients without the wait for others.
MEASURES = (*METRICS, "compute_seconds")


Step = Callable[[tf.Tensor, BatchSlice], tf.Tensor]


def build_step(spec: RunSpec, networks: Networks, noise_stream: int = 0) -> Step:
    """Return ``step(real uint8 [B, H, W, C], batch_slice) -> float32 [7]``: the ``MEASURES``.

    Their sums over replicas are the ``METRICS``. Noise streams have no numbers in common; a run
    that rolls back uses another one.
    """
    build = _alternating if spec.training.updates == "alternating" else _simultaneous
    return build(spec, networks, StepNoise(spec, networks, noise_stream))


def decode(images: tf.Tensor) -> tf.Tensor:
    """Map pixels 0..255, uint8, to [-1, 1], float32: the range of the generator's tanh."""
    return tf.cast(images, tf.float32) * (1.0 / 127.5) - 1.0


def encode(images: tf.Tensor) -> tf.Tensor:
    """Map [-1, 1] to pixels 0..255, uint8, rounded to the nearest."""
    return tf.cast(tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


def _alternating(spec: RunSpec, networks: Networks, noise: StepNoise) -> Step:
    """Update D on fake and real images; then G, on fresh latents (the notebook and the paper)."""
    generator, discriminator = networks.generator, networks.discriminator
    batch = spec.training.global_batch_size

    @_compiled(spec)
    def discriminator_gradients(real, latents, masks):
        fake = generator(latents, training=True)
        with tf.GradientTape() as tape:
            fake_logits, real_logits = _discriminate(spec, discriminator, fake, real, masks)
            loss = _discriminator_loss(spec, fake_logits, real_logits)
        metrics = [loss, *_probabilities(real_logits, fake_logits, batch)]
        return tape.gradient(loss, _weights(discriminator)), metrics

    @_compiled(spec)
    def generator_gradients(latents, masks):
        with tf.GradientTape() as tape:
            logits = discriminator([generator(latents, training=True), *masks], training=True)
            loss = tf.reduce_sum(losses.generator_loss(logits)) / batch
        return tape.gradient(loss, _weights(generator)), loss

    def step(images: tf.Tensor, at: BatchSlice) -> tf.Tensor:
        begun = _time_after(images, _weights(generator)[-1].read_value())
        num_images = images.shape[0]
        latents = noise.latents(Purpose.LATENTS_DISCRIMINATOR, at, num_images)
        real = noise.flip(decode(images), at)
        gradients, (d_loss, real_probability, fake_probability) = discriminator_gradients(
            real, latents, noise.both_masks(at, num_images)
        )
        d_norm, computing = tf.linalg.global_norm(gradients), _time_after(*gradients) - begun
        networks.discriminator_optimizer.apply(gradients, discriminator.trainable_variables)
        begun = _time_after(_weights(discriminator)[-1].read_value())
        latents = noise.latents(Purpose.LATENTS_GENERATOR, at, num_images)
        masks = noise.masks(Purpose.DROPOUT_GENERATOR, at, num_images)
        gradients, g_loss = generator_gradients(latents, masks)
        computing += _time_after(*gradients) - begun
        networks.generator_optimizer.apply(gradients, generator.trainable_variables)
        _average_generator(spec, networks)
        g_norm, computing = tf.linalg.global_norm(gradients), tf.cast(computing, tf.float32)
        return tf.stack(
            [d_loss, g_loss, real_probability, fake_probability, d_norm, g_norm, computing]
        )

    return step


def _simultaneous(spec: RunSpec, networks: Networks, noise: StepNoise) -> Step:
    """Update both from one forward and one backward pass through D.

    See ``losses.generator_over_discriminator_gradient``.
    """
    generator, discriminator = networks.generator, networks.discriminator
    batch = spec.training.global_batch_size

    @_compiled(spec)
    def both_gradients(real, latents, masks):
        with tf.GradientTape() as generator_tape:
            fake = generator(latents, training=True)
        with tf.GradientTape() as tape:
            tape.watch(fake)
            fake_logits, real_logits = _discriminate(spec, discriminator, fake, real, masks)
            d_loss = _discriminator_loss(spec, fake_logits, real_logits)
        *d_gradients, at_fake = tape.gradient(d_loss, [*_weights(discriminator), fake])
        # D's loss is a mean over 2 batches (fake and real), G's over one: hence the factor 2.
        factor = 2.0 * losses.generator_over_discriminator_gradient(fake_logits)
        g_gradients = generator_tape.gradient(
            fake, _weights(generator), output_gradients=at_fake * factor[:, None, None, None]
        )
        g_loss = tf.reduce_sum(losses.generator_loss(fake_logits)) / batch
        metrics = [d_loss, g_loss, *_probabilities(real_logits, fake_logits, batch)]
        return d_gradients, g_gradients, metrics

    def step(images: tf.Tensor, at: BatchSlice) -> tf.Tensor:
        begun = _time_after(images, _weights(generator)[-1].read_value())
        num_images = images.shape[0]
        latents = noise.latents(Purpose.LATENTS_GENERATOR, at, num_images)
        real = noise.flip(decode(images), at)
        d_gradients, g_gradients, metrics = both_gradients(
            real, latents, noise.both_masks(at, num_images)
        )
        computing = tf.cast(_time_after(*d_gradients, *g_gradients) - begun, tf.float32)
        networks.discriminator_optimizer.apply(d_gradients, discriminator.trainable_variables)
        networks.generator_optimizer.apply(g_gradients, generator.trainable_variables)
        _average_generator(spec, networks)
        norms = tf.linalg.global_norm(d_gradients), tf.linalg.global_norm(g_gradients)
        return tf.stack([*metrics, *norms, computing])

    return step


def _discriminate(
    spec: RunSpec, discriminator, fake: tf.Tensor, real: tf.Tensor, masks
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the logits of fake and of real images: as one batch, which is faster.

    As two batches if D normalizes, because its batch statistics must not mix them.
    """
    fake_masks, real_masks = masks
    if spec.model.discriminator.normalize:
        fake_logits = discriminator([fake, *fake_masks], training=True)
        return fake_logits, discriminator([real, *real_masks], training=True)
    both_masks = [tf.concat(pair, axis=0) for pair in zip(fake_masks, real_masks, strict=True)]
    logits = discriminator([tf.concat([fake, real], axis=0), *both_masks], training=True)
    return logits[: fake.shape[0]], logits[fake.shape[0] :]


def _discriminator_loss(spec: RunSpec, fake_logits: tf.Tensor, real_logits: tf.Tensor) -> tf.Tensor:
    fake = tf.reduce_sum(losses.discriminator_loss_fake(fake_logits))
    real = tf.reduce_sum(losses.discriminator_loss_real(real_logits, spec.training.real_label))
    return (fake + real) / (2 * spec.training.global_batch_size)


def _probabilities(real_logits: tf.Tensor, fake_logits: tf.Tensor, batch: int) -> list[tf.Tensor]:
    """Return this replica's shares of the mean D(x) and the mean D(G(z))."""
    return [tf.reduce_sum(tf.sigmoid(logits)) / batch for logits in (real_logits, fake_logits)]


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


def _average_generator(spec: RunSpec, networks: Networks) -> None:
    """ema := decay * ema + (1 - decay) * weight, equal on every replica."""
    decay, weights = spec.training.ema_decay, networks.generator.trainable_variables
    for average, weight in zip(networks.ema, weights, strict=bool(networks.ema)):
        average.assign(decay * average + (1.0 - decay) * weight.value)


def _compiled(spec: RunSpec):
    """Compile gradients with XLA if configured; collective operations do not go into XLA."""
    return tf.function(jit_compile=True) if spec.training.jit_compile else lambda function: function
