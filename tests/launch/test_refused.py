"""Runs that this machine has no room for: refused before any process starts, without Ray."""

import re
import socket
from pathlib import Path

import pytest

from tests.launch.program import environment, run, train_command

pytestmark = pytest.mark.slow
QUICK_SECONDS = 30.0


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"workers__count": 64, "training__global_batch_size": 64},
            r"error: workers\.count is 64, each with 1 CPU and 0 GPUs; found room for \d+"
            r" on this machine with .*\. Lower workers\.count",
        ),
        (
            {"workers__gpus": 1},
            r"error: workers\.count is 2, each with 1 CPU and 1 GPU; found room for 0 on .*"
            r" and 0 GPUs\. ",
        ),
    ],
)
def test_more_than_this_machine_has(
    settings: dict[str, object], said: str, more: list[str], garments: Path, tmp_path: Path
) -> None:
    command = [*train_command(garments, tmp_path / "run", **settings), *more]
    # Without devices Ray counts no GPU, also on a machine that has one.
    code, output = run(
        command, tmp_path / "log", environment(tmp_path, CUDA_VISIBLE_DEVICES=""), QUICK_SECONDS
    )
    assert code == 2
    assert re.match(said, output.splitlines()[-1])
    assert not (tmp_path / "run" / "starts").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_taken_metrics_port_is_named_with_its_holder(
    more: list[str], garments: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        # One worker: the port after it may be anybody's.
        command = [
            *train_command(garments, tmp_path / "run", metrics__port=port, workers__count=1),
            *more,
        ]
        code, output = run(command, tmp_path / "log", environment(tmp_path), QUICK_SECONDS)
    assert code == 2
    said = output.splitlines()[-1]
    assert re.match(
        rf"error: metrics\.port {port} is taken by \S+ \(pid \d+\); expected a free port:"
        r" .*metrics\.port=0",
        said,
    )
    assert not (tmp_path / "run" / "starts").exists()


def test_a_port_that_no_worker_of_this_machine_takes_may_be_taken(
    garments: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [
            *train_command(
                garments, tmp_path / "run", metrics__port=port, metrics__enabled="false"
            ),
            "--dry-run",
        ]
        assert run(command, tmp_path / "off.log", environment(tmp_path), QUICK_SECONDS)[0] == 0
        command = [
            *train_command(garments, tmp_path / "run", metrics__port=port, workers__gpus=1),
            "--dry-run",
        ]
        code, said = run(
            command,
            tmp_path / "ray.log",
            environment(tmp_path, RAY_ADDRESS="elsewhere:6379"),
            QUICK_SECONDS,
        )
    assert code == 0
    assert said.endswith(
        "# not checked: whether the run folder can be written, whether TensorFlow finds the GPUs,"
        " room for the workers and free ports in the cluster that RAY_ADDRESS names\n"
    )
