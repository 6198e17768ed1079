"""Latent vectors, the generator's input. Suffixes: B latents, Z latent size."""

import tensorflow as tf

from job.gan.streams import Purpose, normal_rows


def sample_latents(
    seed: int,
    purpose: Purpose,
    step: tf.Tensor,
    first_index: tf.Tensor,
    num_latents: int | tf.Tensor,
    latent_size: int,
) -> tf.Tensor:
    """Return standard normal latents ``[B, Z]``, float32, for samples ``first_index ...``.

    ``first_index`` counts in the global batch; like ``step`` it is an int64 scalar.
    """
    return normal_rows(seed, purpose, step, first_index, num_latents, latent_size)


def with_labels(latents: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor | list[tf.Tensor]:
    """Return the inputs of a generator: latents ``[B, Z]``, with labels ``[B]`` if there are."""
    return latents if labels is None else [latents, labels]


def fixed_latents(seed: int, num_latents: int, latent_size: int) -> tf.Tensor:
    """Return the latents ``[B, Z]`` of a run's sample grids, the same at every step."""
    zero = tf.constant(0, tf.int64)
    return sample_latents(seed, Purpose.LATENTS_SAMPLES, zero, zero, num_latents, latent_size)
