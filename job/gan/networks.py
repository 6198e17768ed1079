"""Everything that training changes: both networks, their optimizers and the averaged generator, built in one fixed order.

The order matters under several workers: creating a variable is a collective operation there (the first worker's value goes to all).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from job.config.spec import OptimizerSpec, RunSpec
from job.gan.discriminator import build_discriminator
from job.gan.generator import build_generator


class Networks(NamedTuple):
    """The state of a run. ``ema`` holds one averaged tensor per trainable weight of G, or nothing where averaging is off."""

    generator: keras.Model
    discriminator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer
    ema: list[tf.Variable]


def build_networks(spec: RunSpec) -> Networks:
    """Build under the current strategy's scope; equal specs give equal initial weights in every process."""
    policy, synchronized = (
        dtype_policy(spec.training.precision),
        spec.training.batch_norm == "synchronized",
    )
    generator = build_generator(spec.model, spec.seed, policy=policy, synchronized=synchronized)
    discriminator = build_discriminator(
        spec.model, spec.seed, policy=policy, synchronized=synchronized
    )
    generator_optimizer = _build_optimizer(
        spec.training.generator_optimizer, generator, "generator_optimizer"
    )
    discriminator_optimizer = _build_optimizer(
        spec.training.discriminator_optimizer, discriminator, "discriminator_optimizer"
    )
    ema = (
        [_local_copy(weight) for weight in generator.trainable_variables]
        if spec.training.ema_decay > 0
        else []
    )
    return Networks(generator, discriminator, generator_optimizer, discriminator_optimizer, ema)


def dtype_policy(precision: str) -> str:
    """The Keras dtype policy of ``training.precision``; bfloat16 needs no loss scaling, whose finite check could differ between workers."""
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]


def moving_statistics(networks: Networks) -> list[keras.Variable]:
    """Batch normalization's moving means and variances: what each replica keeps for itself until they are averaged."""
    return [
        *networks.generator.non_trainable_variables,
        *networks.discriminator.non_trainable_variables,
    ]


def _build_optimizer(
    spec: OptimizerSpec, network: keras.Model, name: str
) -> keras.optimizers.Optimizer:
    """With a ``name`` of ours: Keras would number its own by what the process built before, and saved variables carry it."""
    if spec.name == "rmsprop":
        optimizer = keras.optimizers.RMSprop(spec.learning_rate, rho=spec.rho, name=name)
    else:
        optimizer = keras.optimizers.Adam(
            spec.learning_rate, beta_1=spec.beta_1, beta_2=spec.beta_2, name=name
        )
    optimizer.build(network.trainable_variables)
    return optimizer


def _local_copy(weight: keras.Variable) -> tf.Variable:
    """A variable that each replica updates for itself, without communication: all compute the same value from the same weight."""
    return tf.Variable(
        weight.value,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        name=f"ema_{weight.name}",
    )
