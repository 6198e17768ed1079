"""Random numbers as a function of (seed, purpose, step, sample), whichever replica draws them.

Knows no worker count and keeps no state. A Philox counter (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3") has 128 bits: the high half holds purpose and step, the low half the
position in the stream, and each row of a batch starts at its own position. So a replica computes
only its rows, and N replicas together the rows of one. Suffixes: B rows, N numbers per row.
"""

import enum

import tensorflow as tf

NUMBERS_PER_COUNT = 4  # 32-bit numbers of a Philox4x32 block, for uniform and normal floats alike
STEP_BITS = 48
SEED_BITS = 31  # of a run's seed (``seed`` in run.yaml); the bits above number its noise streams


class Purpose(enum.IntEnum):
    """Streams that never share numbers, even at the same step.

    A resumed run depends on the values: only ever add.
    """

    LATENTS_DISCRIMINATOR = 0
    LATENTS_GENERATOR = 1
    LATENTS_SAMPLES = 2
    LATENTS_GENERATE = 3
    FLIP = 4
    AUGMENT_FAKE = 5
    AUGMENT_REAL = 6
    AUGMENT_GENERATOR = 7
    AUGMENT_GENERATOR_REAL = 8
    PENALTY_FAKE = 9
    PENALTY_REAL = 10
    PENALTY_POSITION = 11
    DROPOUT_FAKE = 64  # plus the number of the dropout layer
    DROPOUT_REAL = 128
    DROPOUT_GENERATOR = 192
    DROPOUT_GENERATOR_REAL = 256


def normal_rows(
    seed: int,
    stream: int,
    step: tf.Tensor,
    first_row: tf.Tensor,
    num_rows: int | tf.Tensor,
    row_size: int,
) -> tf.Tensor:
    """Return standard normal numbers ``[B, N]``, float32, for rows ``first_row ...``.

    ``step`` and ``first_row`` are int64 scalars.
    """
    operation = tf.raw_ops.StatelessRandomNormalV2
    return _rows(operation, seed, stream, step, first_row, num_rows, row_size)


def uniform_rows(
    seed: int,
    stream: int,
    step: tf.Tensor,
    first_row: tf.Tensor,
    num_rows: int | tf.Tensor,
    row_size: int,
) -> tf.Tensor:
    """Return uniform numbers ``[B, N]`` in [0, 1), float32, for rows ``first_row ...``.

    ``step`` and ``first_row`` are int64 scalars.
    """
    operation = tf.raw_ops.StatelessRandomUniformV2
    return _rows(operation, seed, stream, step, first_row, num_rows, row_size)


def _rows(operation, seed, stream, step, first_row, num_rows, row_size):
    # Rows start at a whole block, so that any row can start a batch.
    counts_per_row = -(-row_size // NUMBERS_PER_COUNT)
    low = tf.cast(first_row, tf.uint64) * tf.constant(counts_per_row, tf.uint64)
    high = tf.cast(step, tf.uint64) + tf.constant(int(stream) << STEP_BITS, tf.uint64)
    numbers = operation(
        shape=tf.stack([num_rows, counts_per_row * NUMBERS_PER_COUNT]),
        key=tf.constant([_mix(seed)], tf.uint64),
        counter=tf.stack([low, high]),
        alg=tf.constant(1, tf.int32),  # Philox; the default may differ between devices
        dtype=tf.float32,
    )
    return numbers[:, :row_size]


def _mix(seed: int) -> int:
    """Apply splitmix64's finalizer: neighbouring seeds become unrelated keys."""
    mask = 2**64 - 1
    value = (seed + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)
