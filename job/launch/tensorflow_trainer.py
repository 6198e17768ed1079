"""Ray Train's ``TensorflowTrainer`` with a shorter start: it leaves out what a run does not use.

Ray's own module (2.60) loads TensorFlow in the process that calls ``fit`` and then in Ray Train's
controller, one after the other, before any worker starts. The controller also starts a process for
data sets of Ray, which there are none of, and one that frees placement groups, which cannot work in
a private cluster (``job.launch.trainer`` does it). Each costs two seconds of a core.
"""

import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray._common.network_utils import build_address
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train._internal.base_worker_group import BaseWorkerGroup
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.tensorflow import tensorflow_trainer

from job.config.spec import WorkerSpec

# Ray Train learns up to 20 s late that a host is gone, so an elastic group may start too large once
# or twice for each lost host.
ELASTIC_STARTS = 100


def new_trainer(
    entry: Callable[[dict[str, Any]], None],
    workers: WorkerSpec,
    worker_config: dict[str, Any],
    worker_env: dict[str, Any],
    ray_storage: str,
    max_restarts: int,
    *,
    is_private: bool,
) -> "TensorflowTrainer":
    """Return a trainer; Ray Train keeps its own state in ``ray_storage``.

    ``worker_env`` is Ray's ``runtime_env`` of the workers.
    """
    sizes = workers.min_workers, workers.max_workers
    is_elastic = sizes[0] < sizes[1]
    gpus = {"GPU": workers.gpus} if workers.gpus else {}
    return TensorflowTrainer(
        entry,
        train_loop_config=worker_config,
        scaling_config=ScalingConfig(
            num_workers=sizes if is_elastic else workers.count,
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus} | gpus,
            elastic_resize_monitor_interval_s=workers.resize_seconds,
        ),
        run_config=RunConfig(
            # A name used twice would resume Ray's own state; ours is in the run folder.
            name=f"dcgan-{uuid.uuid4().hex[:12]}",
            storage_path=ray_storage,
            failure_config=FailureConfig(
                max_failures=max_restarts,
                controller_failure_limit=ELASTIC_STARTS if is_elastic else 3,
            ),
            worker_runtime_env=worker_env,
        ),
        is_private=is_private,
    )


class TensorflowTrainer(tensorflow_trainer.TensorflowTrainer):
    """Ray Train's, with a backend that does the same: it gives each worker the addresses of all."""

    def __init__(
        self,
        train_loop_per_worker: Callable[[dict[str, Any]], None],
        *,
        train_loop_config: dict[str, Any],
        scaling_config: ScalingConfig,
        run_config: RunConfig,
        is_private: bool,
    ):
        self._unused: tuple[type, ...] = (DatasetsCallback,)
        if is_private:
            self._unused += (PlacementGroupCleanerCallback,)
        DataParallelTrainer.__init__(
            self,
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=_Config(),
            scaling_config=scaling_config,
            run_config=run_config,
        )

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        created = super()._create_default_callbacks()
        return [each for each in created if not isinstance(each, self._unused)]


class _Config(BackendConfig):
    @property
    def backend_cls(self) -> type[Backend]:
        return _Backend


class _Backend(Backend):
    def on_start(self, worker_group: BaseWorkerGroup, backend_config: BackendConfig) -> None:
        """Set ``TF_CONFIG`` on each worker: all addresses, and its own rank."""
        addresses = worker_group.execute(_free_address)
        ray.get(
            [
                worker_group.execute_single_async(rank, _set_tf_config, addresses, rank)
                for rank in range(len(addresses))
            ]
        )


def _free_address() -> str:
    return build_address(*get_address_and_port())


def _set_tf_config(addresses: list[str], rank: int) -> None:
    task = {"type": "worker", "index": rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
