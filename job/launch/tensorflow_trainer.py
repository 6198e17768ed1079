"""Ray Train's ``TensorflowTrainer``, for which only the workers load TensorFlow.

Its own module loads TensorFlow in every process that has the trainer or its backend: the one that
calls ``fit`` and then Ray Train's controller, one after the other, before any worker starts (Ray
2.60).
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
    ):
        DataParallelTrainer.__init__(
            self,
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=_Config(),
            scaling_config=scaling_config,
            run_config=run_config,
        )


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
