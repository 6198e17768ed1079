"""A store that takes no checkpoint for a while: training continues without waiting for it."""

import os
from pathlib import Path

import pytest

from tests.launch.program import newest_step, run
from tests.servers.fault_proxy import fault_proxy
from tests.servers.faults import Fault
from tests.servers.s3 import S3Server
from tests.streaming.sets import pack_numbered
from tests.streaming.test_faults import SETTINGS

pytestmark = [pytest.mark.s3, pytest.mark.training, pytest.mark.timeout(300)]

OUTAGE_SECONDS = 15.0


@pytest.mark.live
def test_a_save_that_is_due_in_an_outage_does_not_hold_training(
    s3_server: S3Server, tmp_path: Path
) -> None:
    pack_numbered(tmp_path / "set", 1600, 40, height=8, width=8)
    bucket = s3_server.new_bucket("outage")
    values = SETTINGS | {
        "uri": f"s3://{bucket}/run",
        "data.uri": tmp_path / "set",
        "workers.count": 1,
        "checkpoints.every_steps": 20,
    }
    with fault_proxy(s3_server.endpoint_url) as proxy:
        proxy.fault(
            Fault.ERROR_503,
            seconds=OUTAGE_SECONDS,
            from_first=True,
            match=".npz",
            methods=("PUT",),
        )
        base = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        env = (
            base
            | s3_server.env()
            | {
                "AWS_ENDPOINT_URL": proxy.endpoint_url,
                "TF_CPP_MIN_LOG_LEVEL": "2",
            }
        )
        command = ["0", "1", *(f"{key}={value}" for key, value in values.items())]
        code, output = run(
            command, tmp_path / "train.log", env, 200, "tests.streaming.worker", fork=True
        )
        assert code == 0, output
        assert proxy.injected[Fault.ERROR_503] > 2
    held = [
        float(line.split()[-1])
        for line in output.splitlines()
        if line.startswith("counter dcgan_checkpoint_held_seconds_sum")
    ]
    skipped = [
        float(line.split()[-1]) for line in output.splitlines() if 'outcome="skipped"' in line
    ]
    assert sum(skipped) > 0
    # 2 s; all of it if each request were first tried eight times.
    assert sum(held) < OUTAGE_SECONDS / 3
    # Kept till the store takes it.
    assert newest_step(s3_server.folder / bucket / "run") == values["training.steps"]
