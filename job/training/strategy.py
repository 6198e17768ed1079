"""One MultiWorkerMirroredStrategy over all workers, and the averaging of batch statistics.

Must be made before any other TensorFlow operation of the process. ``TF_CONFIG`` names the workers
(Ray Train sets it); one worker is a strategy of one. Never ``fit``, never ``compile``: Keras 3 does
not support them under this strategy (keras#20585, tensorflow#72388).
"""

import json
import os

import keras
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.distribute.multi_worker_util import coordination_leader
from tensorflow.python.eager.context import context

from job.config.errors import ConfigError
from job.config.spec import RunSpec
from job.gan.networks import Networks, moving_statistics


def create_strategy(spec: RunSpec) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Create this process's strategy; raise ``ConfigError`` if Keras or the GPUs do not fit."""
    version, backend = keras.version(), keras.backend.backend()
    if not version.startswith("3.") or backend != "tensorflow":
        raise ConfigError(f"found Keras {version} on {backend}; expected Keras 3 on TensorFlow")
    reach_workers_directly()
    threads = max(1, round(spec.workers.cpus))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    # With one thread to compute, a second operation at the same time only competes for it.
    # Collective operations occupy no thread while they wait.
    operations = 2 if spec.workers.gpus else min(2, threads)
    tf.config.threading.set_inter_op_parallelism_threads(operations)
    gpus = tf.config.list_physical_devices("GPU")
    if spec.workers.gpus == 0:
        tf.config.set_visible_devices([], "GPU")
    elif len(gpus) != spec.workers.gpus:
        raise ConfigError(
            f"workers.gpus is {spec.workers.gpus}, this worker sees {len(gpus)}; expected that"
            " number on every worker (is tensorflow[and-cuda] installed, is the driver there?)"
        )
    for gpu in gpus if spec.workers.gpus else []:
        tf.config.experimental.set_memory_growth(gpu, True)
    _set_heartbeat_timeout(spec.workers.heartbeat_timeout_seconds)
    # No timeout in CommunicationOptions: each collective operation would start a thread that sleeps
    # for all of it (tensorflow#62466), and after some minutes of fast steps the process would run
    # out of threads and abort (seen). The watchdog ends what hangs.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if strategy.num_replicas_in_sync != spec.num_replicas:
        raise ConfigError(
            f"found {strategy.num_replicas_in_sync} replicas; expected {spec.num_replicas}"
            " (workers.count x workers.gpus)"
        )
    return strategy


def reach_workers_directly() -> None:
    """Exempt the workers of ``TF_CONFIG`` from ``http_proxy``, for gRPC only.

    Requests to S3 keep the proxy and the user's exemptions.
    """
    addresses = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    names = ("no_grpc_proxy", "no_proxy", "NO_PROXY")
    exempt = next(filter(None, map(os.environ.get, names)), "")
    exempted = dict.fromkeys([*filter(None, exempt.split(",")), *hosts])
    # gRPC reads it before no_proxy, and nothing else does.
    os.environ["no_grpc_proxy"] = ",".join(exempted)  # noqa: SIM112


def _set_heartbeat_timeout(seconds: float) -> None:
    """Set how long a heartbeat between TensorFlow's workers may stay unanswered.

    By default 5 s without an answer end all collective operations, so that a link cut for 5 s
    restarted the run (``tests.chaos.hosts``). A lost worker closes its connections, or Ray finds
    its node dead. TensorFlow (2.21) has no public name for this; the strategy keeps what was
    configured before it.
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


def average_statistics(networks: Networks) -> None:
    """Average the moving statistics over all replicas. In replica context.

    With batch statistics per replica they drift apart, because each replica updates its own.
    Training does not read them, but samples and checkpoints do. One collective operation on one
    vector.
    """
    variables = moving_statistics(networks)
    if not variables:
        return
    packed = tf.concat([tf.reshape(variable, [-1]) for variable in variables], axis=0)
    packed = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, packed)
    means = tf.split(packed, [variable.shape.num_elements() for variable in variables])
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(tf.reshape(mean, variable.shape))
