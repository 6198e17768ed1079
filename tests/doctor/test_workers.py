"""The facts of workers: equal ones are ok, and each difference is found."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from job.config.errors import DcganError
from job.config.versions import versions
from job.doctor.check import Check
from job.doctor.workers import worker_checks
from job.launch.inspection import Inspection
from job.training.inspection import Framework, WorkerFacts
from tests.training.planned import spec_of

pytestmark = pytest.mark.training
GB = 10**9
CPU = Framework("Keras 3.15.1 on tensorflow", (), None)
GPU = Framework("Keras 3.15.1 on tensorflow", ("NVIDIA H200",), 140 * GB)
GOOD = WorkerFacts("node-1", versions(), CPU, 8 * GB, GB, 100 * GB, None, None, 0.003)


def found(
    *facts: WorkerFacts, gpus: int = 0, failure: DcganError | None = None, data_bytes: int = 0
) -> dict[str, Check]:
    spec = spec_of(Path("/data"), Path("/run"), f"workers.gpus={gpus}")
    inspection = Inspection(dict(enumerate(facts)), failure)
    return {each.name: each for each in worker_checks(spec, inspection, data_bytes)}


def test_equal_workers_are_ok() -> None:
    checks = found(GOOD, replace(GOOD, host="node-2"), data_bytes=GB)
    assert {each.state for each in checks.values()} == {"ok"}, checks
    assert checks["workers"].found == "2 on 2 hosts: node-1, node-2"
    assert checks["all-reduce"].found == "3.0 ms over 2 workers"
    assert "cache disk of the workers" in checks


@pytest.mark.parametrize(
    ("change", "name", "state", "text", "exit_code"),
    [
        (
            {"versions": versions() | {"keras": "3.0.0"}},
            "versions of the workers",
            "error",
            "keras is 3.0.0 on worker 1 (node-2)",
            2,
        ),
        (
            {"framework": Framework("Keras 2.21.0 on tensorflow", (), None)},
            "Keras of the workers",
            "error",
            "Keras 2.21.0",
            2,
        ),
        (
            {"framework": GPU},
            "GPUs of the workers",
            "error",
            "worker 0 (node-1) has none; worker 1 (node-2) has NVIDIA H200",
            2,
        ),
        (
            {"data_error": "s3://b/data/index.json: cannot read: denied (403); allow it"},
            "data on the workers",
            "error",
            "worker 1 (node-2): s3://b/data/index.json: cannot read: denied (403)",
            3,
        ),
        ({"memory": GB // 2}, "memory of the workers", "warning", "1 worker on node-2", 0),
        ({"shm": 64 * 2**20}, "/dev/shm of the workers", "warning", "67.1 MB", 0),
        ({"cache_disk": GB}, "cache disk of the workers", "warning", "1 GB for 20 GB", 0),
        ({"error": "sees 0 GPUs; expected 1"}, "all-reduce", "error", "worker 1 (node-2)", 2),
        ({"all_reduce_seconds": 0.5}, "all-reduce", "warning", "500.0 ms", 0),
        (
            {"all_reduce_seconds": None},
            "all-reduce",
            "error",
            "not finished by the workers on node-2 in time",
            1,
        ),
    ],
)
def test_each_difference_is_found(
    change: dict[str, Any], name: str, state: str, text: str, exit_code: int
) -> None:
    checks = found(GOOD, replace(GOOD, host="node-2", **change), data_bytes=50 * GB)
    wrong = {each.name: each for each in checks.values() if each.state != "ok"}
    assert list(wrong) == [name]
    assert (wrong[name].state, wrong[name].exit_code) == (state, exit_code)
    assert text in wrong[name].found
    assert wrong[name].advice


def test_other_gpus_of_the_same_number_are_only_slower() -> None:
    other = Framework(GPU.keras, ("NVIDIA L4",), GB)
    checks = found(replace(GOOD, framework=GPU), replace(GOOD, framework=other), gpus=1)
    assert checks["GPUs of the workers"].state == "warning"
    assert checks["memory of the GPUs"].state == "warning"


def test_workers_that_did_not_answer() -> None:
    crashed = DcganError("training crashed at last worker 1: killed. Run it again")
    assert found()["workers"].found == "0 of 2 workers answered in time"
    one = found(replace(GOOD, all_reduce_seconds=None))
    assert one["workers"].found == "1 of 2 workers answered in time"
    assert one["all-reduce"].state == "error"
    assert found(failure=crashed)["workers"].found == str(crashed)
    late = found(GOOD, replace(GOOD, all_reduce_seconds=None), failure=crashed)
    assert late["all-reduce"].found == str(crashed)
