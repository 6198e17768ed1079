"""Latent vectors: where each generated image starts. Suffixes: B latents, Z latent size."""

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
    """Standard normal latents ``[B, Z]``, float32, for samples ``first_index ...`` of a global batch (int64 scalar, like ``step``)."""
    return normal_rows(seed, purpose, step, first_index, num_latents, latent_size)


def fixed_latents(seed: int, num_latents: int, latent_size: int) -> tf.Tensor:
    """The latents ``[B, Z]`` of every sample grid of a run: the same at each step, so that the grids show one progress."""
    zero = tf.constant(0, tf.int64)
    return sample_latents(seed, Purpose.LATENTS_SAMPLES, zero, zero, num_latents, latent_size)
