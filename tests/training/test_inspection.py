"""The facts that a worker reports about itself, and its all-reduce."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from job.training.inspection import inspect_framework
from tests.servers.ports import free_port
from tests.training.planned import pack_512

pytestmark = pytest.mark.training
# One worker of two, as Ray would start it.
WORKER = """
import json, os, sys
from pathlib import Path
from job.run.stores import open_stores
from job.training.inspection import inspect_worker
from job.training.topology import Topology
from tests.training.planned import spec_of

data, gpus = sys.argv[1:]
spec = spec_of(Path(data), Path("/run"), f"workers.gpus={gpus}")
rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
inspect_worker(
    spec,
    open_stores(spec),
    Topology(rank, 2),
    lambda facts: print(
        json.dumps([facts.all_reduce_seconds, facts.error, facts.data_error, facts.memory])
    ),
)
"""


def two_workers(data: Path, gpus: int = 0) -> list[list[list[object]]]:
    """Return the rows that each of two workers posts."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    processes = []
    for rank in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        env = os.environ | {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-c", WORKER, str(data), str(gpus)]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=180)[0] for process in processes]
    return [
        [json.loads(line) for line in output.splitlines() if line.startswith("[")]
        for output in outputs
    ]


@pytest.mark.live
def test_two_workers_reduce(tmp_path: Path) -> None:
    for rows in two_workers(pack_512(tmp_path)):
        before, after = rows
        assert before[:3] == [None, None, None]
        assert 0 < float(str(after[0])) < 60
        assert after[1:3] == [None, None]


@pytest.mark.live
def test_a_worker_without_its_gpus_and_data_says_so(tmp_path: Path) -> None:
    for rows in two_workers(tmp_path / "none", gpus=1):
        before, after = rows
        assert "index.json" in str(before[2])
        assert str(after[1]).startswith("workers.gpus is 1, this worker sees 0")


def test_the_free_memory_of_the_smallest_gpu_is_that_of_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from job.training import inspection

    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "$@" > "$0.arguments"\necho 143771\necho 80000\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert inspection._gpu_memory() == 80000 * 2**20
    arguments = (tmp_path / "nvidia-smi.arguments").read_text()
    assert arguments.split()[-1] == "--id=0,3"
    monkeypatch.setenv("PATH", "/nowhere")
    assert inspection._gpu_memory() is None


def test_the_framework_is_keras_3_on_tensorflow() -> None:
    found = inspect_framework()
    assert found.keras.startswith("Keras 3.")
    assert found.keras.endswith(" on tensorflow")
