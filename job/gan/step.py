"""One training step of one replica, as a function of (real images, step, place in the global batch).

Knows nothing of K steps per call, of input pipelines or of checkpoints. Losses are sums over the replica's samples divided by the *global*
batch, so that sums over replicas (which is what Keras optimizers compute) are means over the global batch. Suffixes: B replica batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan import losses
from job.gan.discriminator import dropout_masks
from job.gan.latents import sample_latents
from job.gan.networks import Networks
from job.gan.streams import SEED_BITS, Purpose, uniform_rows

# A gradient's norm is the sum over replicas of the norms of their parts: the norm itself with one replica, never less than it with more.
METRICS = (
    "discriminator_loss",
    "generator_loss",
    "real_probability",
    "fake_probability",
    "discriminator_gradient_norm",
    "generator_gradient_norm",
)
# What a replica measures: its shares of those, and the time it computed gradients, without the waiting for other replicas in between.
MEASURES = (*METRICS, "compute_seconds")


class BatchSlice(NamedTuple):
    """Where a replica's part of a step stands: the step and the index of its first image in the global batch, both int64 scalars."""

    step: tf.Tensor
    first_index: tf.Tensor


Step = Callable[[tf.Tensor, BatchSlice], tf.Tensor]


def build_step(spec: RunSpec, networks: Networks, noise_stream: int = 0) -> Step:
    """The step as ``step(real uint8 [B, H, W, C], place) -> float32 [7]``: this replica's ``MEASURES``; those of ``METRICS`` are to be summed over
    replicas.

    ``noise_stream`` numbers sets of noise that have nothing in common, for a run that goes back and tries again.
    """
    gradients = _alternating if spec.training.updates == "alternating" else _simultaneous
    return gradients(spec, networks, _Noise(spec, networks, noise_stream))


def decode(images: tf.Tensor) -> tf.Tensor:
    """Pixels 0..255, uint8, to [-1, 1], float32: the range of the generator's tanh."""
    return tf.cast(images, tf.float32) * (1.0 / 127.5) - 1.0


def encode(images: tf.Tensor) -> tf.Tensor:
    """[-1, 1] to pixels 0..255, uint8, rounded to the nearest."""
    return tf.cast(tf.clip_by_value(tf.round((images + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


def _alternating(spec: RunSpec, networks: Networks, noise: "_Noise") -> Step:
    """D on fake and real images; then G, on fresh latents, against the D just updated (the notebook and the paper)."""
    generator, discriminator = networks.generator, networks.discriminator
    batch = spec.training.global_batch_size

    @_compiled(spec)
    def discriminator_gradients(real, latents, masks):
        fake = generator(latents, training=True)
        with tf.GradientTape() as tape:
            fake_logits, real_logits = _judge(spec, discriminator, fake, real, masks)
            loss = _discriminator_loss(spec, fake_logits, real_logits)
        metrics = [
            loss,
            tf.reduce_sum(tf.sigmoid(real_logits)) / batch,
            tf.reduce_sum(tf.sigmoid(fake_logits)) / batch,
        ]
        return tape.gradient(loss, _weights(discriminator)), metrics

    @_compiled(spec)
    def generator_gradients(latents, masks):
        with tf.GradientTape() as tape:
            logits = discriminator([generator(latents, training=True), *masks], training=True)
            loss = tf.reduce_sum(losses.generator_loss(logits)) / batch
        return tape.gradient(loss, _weights(generator)), loss

    def step(images: tf.Tensor, place: BatchSlice) -> tf.Tensor:
        begun, num_images = (
            _time_after(images, _weights(generator)[-1].read_value()),
            images.shape[0],
        )
        latents = noise.latents(Purpose.LATENTS_DISCRIMINATOR, place, num_images)
        real = noise.flip(decode(images), place)
        gradients, (d_loss, real_probability, fake_probability) = discriminator_gradients(
            real, latents, noise.pair(place, num_images)
        )
        d_norm, computing = tf.linalg.global_norm(gradients), _time_after(*gradients) - begun
        networks.discriminator_optimizer.apply(gradients, discriminator.trainable_variables)
        begun = _time_after(_weights(discriminator)[-1].read_value())
        latents = noise.latents(Purpose.LATENTS_GENERATOR, place, num_images)
        gradients, g_loss = generator_gradients(
            latents, noise.masks(Purpose.DROPOUT_GENERATOR, place, num_images)
        )
        computing += _time_after(*gradients) - begun
        networks.generator_optimizer.apply(gradients, generator.trainable_variables)
        _average_generator(spec, networks)
        g_norm = tf.linalg.global_norm(gradients)
        return tf.stack(
            [
                d_loss,
                g_loss,
                real_probability,
                fake_probability,
                d_norm,
                g_norm,
                tf.cast(computing, tf.float32),
            ]
        )

    return step


def _simultaneous(spec: RunSpec, networks: Networks, noise: "_Noise") -> Step:
    """Both from one forward pass and one backward pass through D (see ``losses.generator_over_discriminator_gradient``)."""
    generator, discriminator = networks.generator, networks.discriminator
    batch = spec.training.global_batch_size

    @_compiled(spec)
    def both_gradients(real, latents, masks):
        with tf.GradientTape() as generator_tape:
            fake = generator(latents, training=True)
        with tf.GradientTape() as tape:
            tape.watch(fake)
            fake_logits, real_logits = _judge(spec, discriminator, fake, real, masks)
            d_loss = _discriminator_loss(spec, fake_logits, real_logits)
        *d_gradients, at_fake = tape.gradient(d_loss, [*_weights(discriminator), fake])
        # D's loss is a mean over 2 batches (fake and real), G's over one: hence the factor 2.
        factor = 2.0 * losses.generator_over_discriminator_gradient(fake_logits)
        g_gradients = generator_tape.gradient(
            fake, _weights(generator), output_gradients=at_fake * factor[:, None, None, None]
        )
        g_loss = tf.reduce_sum(losses.generator_loss(fake_logits)) / batch
        metrics = [
            d_loss,
            g_loss,
            tf.reduce_sum(tf.sigmoid(real_logits)) / batch,
            tf.reduce_sum(tf.sigmoid(fake_logits)) / batch,
        ]
        return d_gradients, g_gradients, metrics

    def step(images: tf.Tensor, place: BatchSlice) -> tf.Tensor:
        begun, num_images = (
            _time_after(images, _weights(networks.generator)[-1].read_value()),
            images.shape[0],
        )
        latents = noise.latents(Purpose.LATENTS_GENERATOR, place, num_images)
        real = noise.flip(decode(images), place)
        d_gradients, g_gradients, metrics = both_gradients(
            real, latents, noise.pair(place, num_images)
        )
        computing = tf.cast(_time_after(*d_gradients, *g_gradients) - begun, tf.float32)
        networks.discriminator_optimizer.apply(d_gradients, discriminator.trainable_variables)
        networks.generator_optimizer.apply(g_gradients, generator.trainable_variables)
        _average_generator(spec, networks)
        return tf.stack(
            [
                *metrics,
                tf.linalg.global_norm(d_gradients),
                tf.linalg.global_norm(g_gradients),
                computing,
            ]
        )

    return step


class _Noise:
    """All that is drawn in a step, keyed by the place of each sample.

    Drawn outside of what XLA compiles: XLA's Philox gives other numbers than TensorFlow's (seen with 2.21), and its normal numbers can depend on
    how many are asked for, so that a replica would no longer draw its slice of the global batch.
    """

    def __init__(self, spec: RunSpec, networks: Networks, stream: int):
        self._spec = spec
        self._seed = spec.seed + (stream << SEED_BITS)
        self._discriminator = networks.discriminator

    def latents(self, purpose: Purpose, place: BatchSlice, num_images: int) -> tf.Tensor:
        return sample_latents(
            self._seed,
            purpose,
            place.step,
            place.first_index,
            num_images,
            self._spec.model.generator.latent_size,
        )

    def masks(self, purpose: Purpose, place: BatchSlice, num_images: int) -> list[tf.Tensor]:
        rate = self._spec.model.discriminator.dropout
        return dropout_masks(
            self._discriminator,
            rate,
            self._seed,
            purpose,
            place.step,
            place.first_index,
            num_images,
        )

    def pair(self, place: BatchSlice, num_images: int) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Masks for D's look at the fake and at the real images of a step."""
        return self.masks(Purpose.DROPOUT_FAKE, place, num_images), self.masks(
            Purpose.DROPOUT_REAL, place, num_images
        )

    def flip(self, images: tf.Tensor, place: BatchSlice) -> tf.Tensor:
        if not self._spec.data.horizontal_flip:
            return images
        numbers = uniform_rows(
            self._seed, Purpose.FLIP, place.step, place.first_index, len(images), 1
        )
        return tf.where(numbers[:, :, None, None] < 0.5, images[:, :, ::-1], images)


def _judge(
    spec: RunSpec, discriminator, fake: tf.Tensor, real: tf.Tensor, masks
) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits of D for fake and for real images: as one batch (faster), or as two where D's batch statistics must not mix them."""
    fake_masks, real_masks = masks
    if spec.model.discriminator.normalize:
        return discriminator([fake, *fake_masks], training=True), discriminator(
            [real, *real_masks], training=True
        )
    both_masks = [tf.concat(pair, axis=0) for pair in zip(fake_masks, real_masks, strict=True)]
    logits = discriminator([tf.concat([fake, real], axis=0), *both_masks], training=True)
    return logits[: fake.shape[0]], logits[fake.shape[0] :]


def _discriminator_loss(spec: RunSpec, fake_logits: tf.Tensor, real_logits: tf.Tensor) -> tf.Tensor:
    fake = tf.reduce_sum(losses.discriminator_loss_fake(fake_logits))
    real = tf.reduce_sum(losses.discriminator_loss_real(real_logits, spec.training.real_label))
    return (fake + real) / (2 * spec.training.global_batch_size)


def _time_after(*values: tf.Tensor) -> tf.Tensor:
    """Seconds, float64, at the moment when all of these are computed; a weight that is read is one that the optimizer is done with.

    Always 0 with a GPU: there an operation is over for TensorFlow when its kernel is launched, so the times would be those of launches.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.constant(0.0, tf.float64)
    with tf.control_dependencies(values):
        return tf.timestamp()


def _weights(network) -> list:
    """Trainable weights as TensorFlow's own variables: a gradient tape knows those, and Keras' wrappers only by accident."""
    return [variable.value for variable in network.trainable_variables]


def _average_generator(spec: RunSpec, networks: Networks) -> None:
    """ema := decay * ema + (1 - decay) * weight, per replica; every replica computes the same value."""
    for average, weight in zip(
        networks.ema, networks.generator.trainable_variables, strict=bool(networks.ema)
    ):
        average.assign(
            spec.training.ema_decay * average + (1.0 - spec.training.ema_decay) * weight.value
        )


def _compiled(spec: RunSpec):
    """Gradients may be one XLA program; applying them may not, because collective operations do not go into one."""
    return tf.function(jit_compile=True) if spec.training.jit_compile else lambda function: function
