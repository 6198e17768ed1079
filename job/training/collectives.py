"""Collective operations on a few named integers, and on the rows of a matrix.

All workers must make the same calls in the same order.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

MAX_VALUES = 4  # of one operation; fixed, so that it is traced once


class Collectives:
    """Sums and broadcasts of named int64 values, one collective operation each.

    Traced once per process: tracing takes longer than a thousand operations.
    """

    def __init__(self, strategy: tf.distribute.Strategy, *, is_chief: bool, num_local: int = 1):
        """``num_local`` is the number of replicas in each worker; only the first contributes."""
        self._is_chief = is_chief

        def share(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            is_first = tf.equal(context.replica_id_in_sync_group % num_local, 0)
            values = tf.where(is_first, values, tf.zeros_like(values))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

        @tf.function(input_signature=[tf.TensorSpec([MAX_VALUES], tf.int64)])
        def sum_vector(values: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(share, args=(values,)))[0]

        @tf.function
        def sum_matrix(values: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(share, args=(values,)))[0]

        self._sum_vector, self._sum_matrix = sum_vector, sum_matrix

    def sum_over_workers(self, **values: int) -> dict[str, int]:
        """Return each value summed over all workers, on every worker."""
        padded = [*values.values(), *[0] * (MAX_VALUES - len(values))]
        sums = self._sum_vector(tf.constant(padded, tf.int64)).numpy().tolist()
        return dict(zip(values, sums, strict=False))

    def broadcast_from_chief(self, **values: int) -> dict[str, int]:
        """Return the chief's values on every worker; those that other workers pass are ignored."""
        return self.sum_over_workers(**(values if self._is_chief else dict.fromkeys(values, 0)))

    def sum_rows(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum of ``[N, D]`` over all workers, on every worker.

        Exact if each row is 0 on all workers but one.
        """
        return np.asarray(self._sum_matrix(tf.constant(values)))
