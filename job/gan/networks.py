"""Everything that training changes: both networks, their optimizers and the averaged generator.

They are built in one fixed order: with several workers, creating a variable is a collective
operation (the chief's value goes to all).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from job.config.spec import OptimizerSpec, RunSpec
from job.gan.discriminator import build_discriminator
from job.gan.generator import build_generator


class Networks(NamedTuple):
    """The state of a run; ``ema`` averages G's trainable weights, empty if averaging is off."""

    generator: keras.Model
    discriminator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer
    ema: list[tf.Variable]


def build_networks(spec: RunSpec) -> Networks:
    """Build in the strategy's scope; equal specs give equal initial weights in every process."""
    training = spec.training
    policy, synchronized = dtype_policy(training.precision), training.batch_norm == "synchronized"
    generator, discriminator = (
        build(spec.model, spec.seed, policy=policy, synchronized=synchronized)
        for build in (build_generator, build_discriminator)
    )
    return Networks(
        generator,
        discriminator,
        _build_optimizer(training.generator_optimizer, generator, "generator_optimizer"),
        _build_optimizer(
            training.discriminator_optimizer, discriminator, "discriminator_optimizer"
        ),
        [_local_copy(w) for w in generator.trainable_variables if training.ema_decay > 0],
    )


def dtype_policy(precision: str) -> str:
    """Return the Keras dtype policy of ``training.precision``.

    bfloat16 needs no loss scaling, whose finite check could differ between workers.
    """
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]


def moving_statistics(networks: Networks) -> list[keras.Variable]:
    """Return the moving means and variances, which each replica keeps until they are averaged."""
    return [
        *networks.generator.non_trainable_variables,
        *networks.discriminator.non_trainable_variables,
    ]


def _build_optimizer(
    spec: OptimizerSpec, network: keras.Model, name: str
) -> keras.optimizers.Optimizer:
    """Build an optimizer with a fixed name, which saved variables carry; Keras would number it."""
    if spec.name == "rmsprop":
        optimizer = keras.optimizers.RMSprop(spec.learning_rate, rho=spec.rho, name=name)
    else:
        optimizer = keras.optimizers.Adam(
            spec.learning_rate, beta_1=spec.beta_1, beta_2=spec.beta_2, name=name
        )
    optimizer.build(network.trainable_variables)
    return optimizer


def _local_copy(weight: keras.Variable) -> tf.Variable:
    """Return a variable that each replica updates without communication, all to the same value."""
    return tf.Variable(
        weight.value,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        name=f"ema_{weight.name}",
    )
