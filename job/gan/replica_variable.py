"""Variables that replicas update alone, without communication, all to the same value."""

import tensorflow as tf


def replica_variable(value: float | tf.Tensor, name: str) -> tf.Variable:
    """Return such a variable. In the strategy's scope; reading it takes the first replica's."""
    return tf.Variable(
        value,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        name=name,
    )
