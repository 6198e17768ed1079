"""The train call: K training steps in one TensorFlow call, over the global batches of a chunk.

Suffixes: S stripes, K steps, P positions of a stripe, B images of this worker per step, M measures.
"""

from collections.abc import Callable

import tensorflow as tf

from job.config.spec import RunSpec
from job.gan.networks import Networks
from job.gan.noise import BatchSlice
from job.gan.schedules import Schedules
from job.gan.step import MEASURES, METRICS, build_step
from job.training.strategy import average_statistics

TrainCall = Callable[..., tuple[tf.Tensor, tf.Tensor]]


def build_train_call(
    spec: RunSpec, strategy: tf.distribute.Strategy, networks: Networks, noise_stream: int = 0
) -> TrainCall:
    """Return ``train_call(chunk uint8 [S, K, P, H, W, C], first step int64)`` of K steps.

    Conditional networks need a third argument, the labels, int32 ``[S, K, P]``.
    It returns the ``METRICS`` of each step, float32 ``[K, 7]``, and this worker's ``MEASURES``,
    ``[K, 8]``, which show the source of a number that is not finite and the slow worker. The B
    images of step k are ``chunk[:, k]``: the P of each stripe in turn (``job.streaming.reader``).
    """
    step, schedules = build_step(spec, networks, noise_stream), Schedules(spec)
    replica_batch = spec.replica_batch_size
    num_local = max(1, spec.workers.gpus)
    worker_batch = replica_batch * num_local
    image_shape = [*spec.model.image_size, spec.model.channels]

    def replica_step(step_number: tf.Tensor, images: tf.Tensor, *labels: tf.Tensor) -> tf.Tensor:
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)

        def own(values: tf.Tensor) -> tf.Tensor:
            if num_local == 1:
                return values
            first_local = (replica % num_local) * replica_batch
            return tf.ensure_shape(
                values[first_local : first_local + replica_batch],
                [replica_batch, *values.shape[1:]],
            )

        at = BatchSlice(step_number, replica * replica_batch, *map(own, labels))
        return step(own(images), at)

    def finish(local_sums: tf.Tensor) -> tf.Tensor:
        if spec.training.batch_norm == "local":
            average_statistics(networks)
        return tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM, local_sums / num_local
        )

    signature = [
        tf.TensorSpec([None, None, None, *image_shape], tf.uint8),
        tf.TensorSpec([], tf.int64),
    ]
    if len(networks.generator.inputs) > 1:
        signature.append(tf.TensorSpec([None, None, None], tf.int32))

    @tf.function(input_signature=signature, autograph=False)  # its conversion takes seconds
    def train_call(
        chunk: tf.Tensor, first_step: tf.Tensor, *labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        num_steps = tf.shape(chunk)[1]

        def one_step(k: tf.Tensor, metrics: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            images = tf.reshape(chunk[:, k], [worker_batch, *image_shape])
            own_labels = [tf.reshape(each[:, k], [worker_batch]) for each in labels]
            step_number = first_step + tf.cast(k, tf.int64)
            schedules.set_optimizers(networks, step_number)
            shares = strategy.run(replica_step, args=(step_number, images, *own_labels))
            own = tf.add_n(list(strategy.experimental_local_results(shares)))
            return k + 1, metrics.write(k, own)

        metrics = tf.TensorArray(tf.float32, size=num_steps, element_shape=[len(MEASURES)])
        _, metrics = tf.while_loop(lambda k, _: k < num_steps, one_step, (0, metrics))
        local = metrics.stack()
        shares, others = local[:, : len(METRICS)], local[:, len(METRICS) :]
        measures = tf.concat([shares, others / num_local], axis=1)
        sums = strategy.experimental_local_results(strategy.run(finish, args=(shares,)))
        return sums[0], measures

    return train_call
