"""One contender of bench/train_step.py: a process that waits for its turn.

    python bench/train_step_contenders.py NAME BATCH THREADS

Prints ``ready`` when it is built and warm. Then each line on standard input is a number of steps to
train; it answers with the seconds that they took. All train the networks of the preset `notebook`
by the notebook's updates: D on fake and real images together, then G on fresh noise, both with
RMSprop. Images are random, already in memory.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

LATENT = 100
Train = Callable[[int], None]  # trains that many steps, and waits for the last


def main() -> None:
    name, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    kind, _, option = name.partition(":")
    train = CONTENDERS[kind](option, batch, threads)
    train(3)
    print("ready", flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        train(int(line))
        print(time.perf_counter() - started, flush=True)


def real_images(batch: int) -> Any:
    """Return float32 [batch, 28, 28, 1] in -1 ... 1."""
    return np.random.default_rng(0).uniform(-1, 1, (batch, 28, 28, 1)).astype(np.float32)


def keras_networks(keras: Any, last: str | None) -> tuple[Any, Any]:
    """Return the notebook's generator and discriminator, the latter with activation ``last``."""
    layers = keras.layers
    generator = keras.Sequential(
        [
            layers.Input((LATENT,)),
            layers.Dense(7 * 7 * 128),
            layers.Reshape((7, 7, 128)),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(64, 5, 2, "same", activation="selu"),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(1, 5, 2, "same", activation="tanh"),
        ]
    )
    discriminator = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(64, 5, 2, "same"),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.3),
            layers.Conv2D(128, 5, 2, "same"),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(1, activation=last),
        ]
    )
    return generator, discriminator


def keras_loop(version: str, batch: int, threads: int) -> Train:
    """The notebook's own loop: two ``train_on_batch`` a step, on Keras 2 or 3."""
    import tensorflow as tf

    set_threads(tf, threads)
    keras = importlib.import_module("tf_keras" if version == "2" else "keras")
    generator, discriminator = keras_networks(keras, "sigmoid")
    discriminator.compile(loss="binary_crossentropy", optimizer="rmsprop")
    discriminator.trainable = False
    gan = keras.Sequential([generator, discriminator])
    gan.compile(loss="binary_crossentropy", optimizer="rmsprop")
    real, labels = real_images(batch), np.repeat([0.0, 1.0], batch)[:, None].astype(np.float32)
    ones = np.ones((batch, 1), np.float32)

    def train(steps: int) -> None:
        for _ in range(steps):
            fake = generator(tf.random.normal((batch, LATENT)))
            discriminator.trainable = True
            discriminator.train_on_batch(tf.concat([fake, real], 0), labels)
            discriminator.trainable = False
            gan.train_on_batch(tf.random.normal((batch, LATENT)), ones)

    return train


def tutorial(_: str, batch: int, threads: int) -> Train:
    """TensorFlow's tutorial: both updates in one ``tf.function``, Keras 3, two tapes."""
    import keras
    import tensorflow as tf

    set_threads(tf, threads)
    generator, discriminator = keras_networks(keras, None)
    optimizers = [keras.optimizers.RMSprop() for _ in range(2)]
    for optimizer, network in zip(optimizers, (generator, discriminator), strict=True):
        optimizer.build(network.trainable_variables)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    real = tf.constant(real_images(batch))
    labels = tf.repeat(tf.constant([[0.0], [1.0]]), batch, 0)

    @tf.function
    def step() -> Any:
        fake = generator(tf.random.normal((batch, LATENT)), training=True)
        with tf.GradientTape() as tape:
            error = loss(labels, discriminator(tf.concat([fake, real], 0), training=True))
        weights = discriminator.trainable_variables
        optimizers[1].apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
        with tf.GradientTape() as tape:
            fake = generator(tf.random.normal((batch, LATENT)), training=True)
            error = loss(tf.ones((batch, 1)), discriminator(fake, training=True))
        weights = generator.trainable_variables
        optimizers[0].apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
        return error

    def train(steps: int) -> None:
        for _ in range(steps):
            error = step()
        error.numpy()

    return train


def pytorch(mode: str, batch: int, threads: int) -> Train:
    """PyTorch, channels last: ``eager``, ``compile`` (max-autotune) or ``bfloat16``."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    generator = nn.Sequential(
        nn.Linear(LATENT, 7 * 7 * 128),
        nn.Unflatten(1, (128, 7, 7)),
        nn.BatchNorm2d(128),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, output_padding=1),
        nn.SELU(),
        nn.BatchNorm2d(64),
        nn.ConvTranspose2d(64, 1, 5, 2, 2, output_padding=1),
        nn.Tanh(),
    ).to(memory_format=torch.channels_last)
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    ).to(memory_format=torch.channels_last)
    loss = nn.BCEWithLogitsLoss()
    optimizers = [
        torch.optim.RMSprop(network.parameters(), 1e-3, alpha=0.9, eps=1e-7)
        for network in (generator, discriminator)
    ]
    real = torch.from_numpy(real_images(batch)).permute(0, 3, 1, 2)
    labels = torch.tensor([0.0, 1.0]).repeat_interleave(batch)[:, None]
    ones = torch.ones(batch, 1)

    def discriminator_loss() -> Any:
        with torch.no_grad():
            fake = generator(torch.randn(batch, LATENT))
        return loss(discriminator(torch.cat([fake, real])).float(), labels)

    def generator_loss() -> Any:
        return loss(discriminator(generator(torch.randn(batch, LATENT))).float(), ones)

    losses = [generator_loss, discriminator_loss]
    if mode == "compile":
        losses = [torch.compile(each, mode="max-autotune") for each in losses]
    weights = list(discriminator.parameters())

    def train(steps: int) -> None:
        for _ in range(steps):
            for number in (1, 0):
                for weight in weights:  # G's step needs no gradients of D's weights
                    weight.requires_grad_(number == 1)
                optimizers[number].zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bfloat16"):
                    error = losses[number]()
                error.backward()
                optimizers[number].step()

    return train


def jax_jit(_: str, batch: int, threads: int) -> Train:
    """JAX: the whole step in one ``jit``; XLA takes as many threads as it may use cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import jax
    from jax import lax
    from jax import numpy as jnp

    shapes = {
        "g": [
            *((LATENT, 6272), (6272,), (128,), (128,)),
            *((5, 5, 128, 64), (64,), (64,), (64,), (5, 5, 64, 1), (1,)),
        ],
        "d": [(5, 5, 1, 64), (64,), (5, 5, 64, 128), (128,), (6272, 1), (1,)],
    }
    random = np.random.default_rng(0)
    weights = {
        name: [jnp.asarray(random.normal(0, 0.02, shape), jnp.float32) for shape in each]
        for name, each in shapes.items()
    }
    squares = jax.tree.map(jnp.zeros_like, weights)
    layout = ("NHWC", "HWIO", "NHWC")

    def norm(x: Any, scale: Any, offset: Any) -> Any:
        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        return (x - mean) * lax.rsqrt(variance + 1e-3) * (1 + scale) + offset

    def generate(w: Any, latents: Any) -> Any:
        x = norm((latents @ w[0] + w[1]).reshape(-1, 7, 7, 128), w[2], w[3])
        x = lax.conv_transpose(x, w[4], (2, 2), "SAME", dimension_numbers=layout) + w[5]
        x = norm(jax.nn.selu(x), w[6], w[7])
        return jnp.tanh(
            lax.conv_transpose(x, w[8], (2, 2), "SAME", dimension_numbers=layout) + w[9]
        )

    def judge(w: Any, x: Any, keys: Any) -> Any:
        for number, key in enumerate(jax.random.split(keys)):
            kernel, bias = w[2 * number], w[2 * number + 1]
            x = lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=layout)
            x = jax.nn.leaky_relu(x + bias, 0.2)
            x = jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0.0)
        return x.reshape(len(x), -1) @ w[4] + w[5]

    def update(w: Any, squares: Any, gradients: Any) -> tuple[Any, Any]:
        squares = jax.tree.map(lambda s, g: 0.9 * s + 0.1 * g * g, squares, gradients)
        moved = jax.tree.map(
            lambda w, s, g: w - 1e-3 * g / (jnp.sqrt(s) + 1e-7), w, squares, gradients
        )
        return moved, squares

    @jax.jit
    def step(state: Any, key: Any, real: Any) -> Any:
        weights, squares = state
        keys = jax.random.split(key, 4)
        fake = generate(weights["g"], jax.random.normal(keys[0], (batch, LATENT)))

        def discriminator_loss(w: Any) -> Any:
            logits = judge(w, jnp.concatenate([fake, real]), keys[1])
            return (jax.nn.softplus(logits[:batch]) + jax.nn.softplus(-logits[batch:])).mean() / 2

        d, d_squares = update(
            weights["d"], squares["d"], jax.grad(discriminator_loss)(weights["d"])
        )

        def generator_loss(w: Any) -> Any:
            images = generate(w, jax.random.normal(keys[2], (batch, LATENT)))
            return jax.nn.softplus(-judge(d, images, keys[3])).mean()

        g, g_squares = update(weights["g"], squares["g"], jax.grad(generator_loss)(weights["g"]))
        return {"g": g, "d": d}, {"g": g_squares, "d": d_squares}

    real = jnp.asarray(real_images(batch))
    state, key = (weights, squares), jax.random.key(0)

    def train(steps: int) -> None:
        nonlocal state, key
        for _ in range(steps):
            key, used = jax.random.split(key)
            state = step(state, used, real)
        jax.block_until_ready(state)

    return train


def ours(variant: str, batch: int, threads: int) -> Train:
    """This project's call of 10 steps of ``PRESET[:KEY=VALUE,...]``; TF_CONFIG has the workers."""
    import json

    import job  # noqa: F401  before TensorFlow: no settings of ~/.keras

    workers = len(json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"])
    import tensorflow as tf

    from job.config.load import load_run
    from job.gan.networks import build_networks
    from job.training.automatic import without_auto
    from job.training.multi_step import build_train_call
    from job.training.strategy import create_strategy

    values = ("uri=a", "data.uri=b", f"workers.count={workers}", f"workers.cpus={threads}")
    preset, _, more = variant.partition(":")
    overrides = [*values, f"training.global_batch_size={batch}", *filter(None, more.split(","))]
    spec = load_run(preset, overrides=overrides)
    spec = without_auto(spec, 60_000)
    strategy = create_strategy(spec)
    with strategy.scope():
        networks = build_networks(spec)
    call = build_train_call(spec, strategy, networks)
    random, shape = np.random.default_rng(0), (spec.replica_batch_size, 28, 28, 1)
    chunks = {
        steps: tf.constant(random.integers(0, 256, (1, steps, *shape), np.uint8))
        for steps in (3, 10)
    }

    def train(steps: int) -> None:
        size = 10 if steps % 10 == 0 else 3
        for _ in range(steps // size):
            call(chunks[size], tf.constant(0, tf.int64))[0].numpy()

    return train


def matrix_product(_: str, __: int, threads: int) -> Train:
    """No training: one "step" is the product of two 1,024 x 1,024 matrices, 2.147 GFLOP."""
    import tensorflow as tf

    set_threads(tf, threads)
    a = tf.random.normal((1024, 1024))

    @tf.function
    def product(x: Any) -> Any:
        return tf.matmul(x, a) * 1e-2

    def train(steps: int) -> None:
        x = a
        for _ in range(steps):
            x = product(x)
        x.numpy()

    return train


def set_threads(tf: Any, threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


CONTENDERS = {
    "keras-loop": keras_loop,
    "tutorial": tutorial,
    "torch": pytorch,
    "jax": jax_jit,
    "ours": ours,
    "matrix-product": matrix_product,
}

if __name__ == "__main__":
    main()
