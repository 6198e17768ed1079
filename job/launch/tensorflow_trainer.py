"""Ray Train's ``TensorflowTrainer`` with a shorter start: it leaves out what a run does not use.

Ray's own module (2.60) loads TensorFlow in the process that calls ``fit`` and then in Ray Train's
controller, one after the other, before any worker starts. The controller also starts a process for
data sets of Ray, which there are none of, and one that frees placement groups, which cannot work in
a private cluster (``job.launch.trainer`` does it). Each costs two seconds of a core.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import ray
from ray._common.network_utils import build_address
from ray.train import RunConfig, ScalingConfig
from ray.train._internal.base_worker_group import BaseWorkerGroup
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.tensorflow import tensorflow_trainer


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
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    )
