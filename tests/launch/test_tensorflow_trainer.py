"""The trainer in a process that does not train; ``test_life`` trains with it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # imports Ray

MADE = """
import pickle, sys
import ray.train
from job.config.spec import WorkerSpec
from job.launch.tensorflow_trainer import new_trainer
from job.launch.trainer import _worker
workers = WorkerSpec(count=2)
trainer = new_trainer(_worker, workers, {}, {}, "/nowhere", 3, is_private=True)
pickle.loads(ray.cloudpickle.dumps([trainer.backend_config, trainer.backend_config.backend_cls]))
from ray.train.v2.tensorflow.tensorflow_trainer import TensorflowTrainer
assert isinstance(trainer, TensorflowTrainer)
for is_private in (True, False):
    trainer = new_trainer(_worker, workers, {}, {}, "/nowhere", 3, is_private=is_private)
    names = {type(each).__name__ for each in trainer._create_default_callbacks()}
    assert {"BackendSetupCallback", "AcceleratorSetupCallback"} <= names, names
    assert "DatasetsCallback" not in names
    assert ("PlacementGroupCleanerCallback" in names) is not is_private
print(sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras"}))
"""


def test_making_it_and_what_it_sends_to_ray_trains_controller_load_no_tensorflow() -> None:
    made = subprocess.run([sys.executable, "-c", MADE], capture_output=True, text=True, check=False)
    assert made.stdout == "[]\n", made.stderr
