"""One MultiWorkerMirroredStrategy over all workers, and the few collective operations of our own.

Must be made before any other TensorFlow operation of the process. ``TF_CONFIG`` names the workers (Ray Train sets it); one worker is a strategy
of one. Never ``fit``, never ``compile``: Keras 3 does not support them under this strategy (keras#20585, tensorflow#72388).
"""

import json
import os
from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.distribute.multi_worker_util import coordination_leader
from tensorflow.python.eager.context import context

from job.config.errors import ConfigError
from job.config.spec import RunSpec
from job.gan.networks import Networks, moving_statistics


def create_strategy(spec: RunSpec) -> tf.distribute.MultiWorkerMirroredStrategy:
    """The strategy of this process; ``ConfigError`` where Keras or the GPUs are not what the run needs."""
    if not keras.version().startswith("3.") or keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"found Keras {keras.version()} on {keras.backend.backend()}; expected Keras 3 on TensorFlow"
        )
    reach_workers_directly()
    threads = max(1, round(spec.workers.cpus))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(
        2
    )  # one thread computes, one waits in a collective operation
    gpus = tf.config.list_physical_devices("GPU")
    if spec.workers.gpus == 0:
        tf.config.set_visible_devices([], "GPU")
    elif len(gpus) != spec.workers.gpus:
        raise ConfigError(
            f"workers.gpus is {spec.workers.gpus}, this worker sees {len(gpus)}; expected that number on every worker"
            " (is tensorflow[and-cuda] installed, is the driver there?)"
        )
    for gpu in gpus if spec.workers.gpus else []:
        tf.config.experimental.set_memory_growth(gpu, True)
    _be_patient(spec.workers.heartbeat_timeout_seconds)
    # Without a timeout in CommunicationOptions: each collective operation would start a thread that sleeps for all of it (tensorflow#62466),
    # and after some minutes of fast steps there is no thread left and the process aborts (seen). A hang is the watchdog's.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if strategy.num_replicas_in_sync != spec.num_replicas:
        raise ConfigError(
            f"found {strategy.num_replicas_in_sync} replicas; expected {spec.num_replicas} (workers.count x workers.gpus)"
        )
    return strategy


def reach_workers_directly() -> None:
    """Exempt the workers of ``TF_CONFIG`` from ``http_proxy``, for gRPC only: what reaches S3 keeps the proxy and the user's own exemptions."""
    addresses = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    names = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
    exempt = next(filter(None, map(os.environ.get, names)), "")
    exempted = dict.fromkeys([*filter(None, exempt.split(",")), *hosts])
    # gRPC reads it before no_proxy, and nothing else does.
    os.environ["no_grpc_proxy"] = ",".join(exempted)  # noqa: SIM112


def _be_patient(seconds: float) -> None:
    """Let the heartbeats that TensorFlow's workers send each other go without an answer for this long.

    By default one that is not answered within 5 s ends all collective operations, so a link cut for 5 s started the run again
    (``tests.chaos.hosts``). A worker that is really lost closes its connections, or Ray finds its node dead. TensorFlow has no public name for
    this (2.21): the strategy configures what nobody has configured before it.
    """
    cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
    if cluster.jobs:
        context().configure_coordination_service(
            service_type="standalone",
            service_leader=coordination_leader(cluster),
            coordinated_jobs=[
                CoordinatedJob(name=job, num_tasks=cluster.num_tasks(job)) for job in cluster.jobs
            ],
            heartbeat_timeout_in_ms=round(seconds * 1000),
        )


class Agreement:
    """``agree([...])``: the sums over all workers of ``num_values`` integers (int64), on every worker. A collective operation: all must call it.

    What only one worker knows, it gives, and the others give 0. Made once: tracing it takes longer than a thousand calls.
    """

    def __init__(self, strategy: tf.distribute.Strategy, num_values: int, num_local: int = 1):
        """``num_local`` replicas in each worker."""

        def share(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            is_first = tf.equal(context.replica_id_in_sync_group % num_local, 0)
            return context.all_reduce(
                tf.distribute.ReduceOp.SUM, tf.where(is_first, values, tf.zeros_like(values))
            )

        @tf.function(input_signature=[tf.TensorSpec([num_values], tf.int64)])
        def agree(values: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(share, args=(values,)))[0]

        self._agree = agree

    def __call__(self, values: Sequence[int]) -> list[int]:
        return [int(value) for value in self._agree(tf.constant(values, tf.int64))]


def average_statistics(networks: Networks) -> None:
    """Give every replica the mean of all replicas' moving statistics. In replica context.

    With batch statistics per replica the moving statistics drift apart, because each replica updates its own. Nothing in training reads them,
    but samples and checkpoints do. One collective operation: all of them travel as one vector.
    """
    variables = [statistic.value for statistic in moving_statistics(networks)]
    if not variables:
        return
    packed = tf.concat([tf.reshape(variable, [-1]) for variable in variables], axis=0)
    packed = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, packed)
    for variable, mean in zip(
        variables,
        tf.split(packed, [variable.shape.num_elements() for variable in variables]),
        strict=True,
    ):
        variable.assign(tf.reshape(mean, variable.shape))
