"""Everything that training changes: both networks, their optimizers and the averaged generator.

They are built in one fixed order: with several workers, creating a variable is a collective
operation (the chief's value goes to all).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from job.config.spec import OptimizerSpec, RunSpec, TrainingSpec
from job.gan.adaptive import AdaptiveState, build_adaptive_state
from job.gan.discriminator import build_discriminator
from job.gan.generator import build_generator
from job.gan.replica_variable import replica_variable


class Networks(NamedTuple):
    """The state of a run.

    ``ema`` averages ``generator_weights``, empty if averaging is off; ``adaptive`` is only there if
    augmentation is adaptive.
    """

    generator: keras.Model
    discriminator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer
    ema: list[tf.Variable]
    adaptive: AdaptiveState | None = None


def build_networks(spec: RunSpec, num_classes: int = 0) -> Networks:
    """Build in the strategy's scope; equal specs give equal initial weights in every process.

    Both networks take labels if there are ``num_classes``.
    """
    training = spec.training
    policy, synchronized = dtype_policy(training.precision), training.batch_norm == "synchronized"
    generator, discriminator = (
        build(
            spec.model,
            spec.seed,
            num_classes=num_classes,
            policy=policy,
            synchronized=synchronized,
            for_cpu=spec.workers.gpus == 0,
        )
        for build in (build_generator, build_discriminator)
    )
    return Networks(
        generator,
        discriminator,
        _build_optimizer(training, training.generator_optimizer, generator, "generator_optimizer"),
        _build_optimizer(
            training, training.discriminator_optimizer, discriminator, "discriminator_optimizer"
        ),
        [
            replica_variable(weight.value, f"ema_{weight.name}")
            for weight in generator_weights(generator)
            if training.is_averaged
        ],
        build_adaptive_state() if training.augment.mode == "adaptive" else None,
    )


def dtype_policy(precision: str) -> str:
    """Return the Keras dtype policy of ``training.precision``.

    bfloat16 needs no loss scaling, whose finite check could differ between workers.
    """
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[precision]


def generator_weights(generator: keras.Model) -> list[keras.Variable]:
    """Return the trainable weights of G, then its moving statistics."""
    return [*generator.trainable_variables, *generator.non_trainable_variables]


def moving_statistics(networks: Networks) -> list[tf.Variable]:
    """Return the moving means and variances and their averages over steps.

    Each replica keeps its own until they are averaged over the replicas.
    """
    generator, discriminator = networks.generator, networks.discriminator
    statistics = [*generator.non_trainable_variables, *discriminator.non_trainable_variables]
    over_steps = networks.ema[len(generator.trainable_variables) :]
    return [*(statistic.value for statistic in statistics), *over_steps]


def _build_optimizer(
    training: TrainingSpec, spec: OptimizerSpec, network: keras.Model, name: str
) -> keras.optimizers.Optimizer:
    """Build an optimizer with a fixed name, which saved variables carry; Keras would number it."""
    if spec.name == "rmsprop":
        optimizer = keras.optimizers.RMSprop(spec.learning_rate, rho=spec.rho, name=name)
    else:
        optimizer = keras.optimizers.Adam(
            spec.learning_rate, beta_1=spec.beta_1, beta_2=spec.beta_2, name=name
        )
        if training.schedule.images and training.schedule.beta_2 is not None:
            # Read in every update; not among the optimizer's variables, so it is not saved.
            optimizer.beta_2 = tf.Variable(spec.beta_2, trainable=False, name=f"{name}_beta_2")
    optimizer.build(network.trainable_variables)
    return optimizer
