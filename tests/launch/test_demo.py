"""``dcgan-train demo`` on a user's images: its files, its output, and nothing to do again."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.launch.program import Program, environment, run, session_processes, started
from tests.servers.ports import free_port

pytestmark = [pytest.mark.live, pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


def test_the_demo_trains_on_a_folder_of_pictures(tmp_path: Path, ray_folder: Path) -> None:
    pictures = tmp_path / "my pictures 😀"
    for name in ("bag", "shoe"):
        (pictures / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(80):
        Image.fromarray(random.integers(0, 256, (40, 32, 3), np.uint8)).save(
            pictures / ("bag", "shoe")[number % 2] / f"{number}.png"
        )
    command = [
        "demo",
        "--data",
        str(pictures),
        "--folder",
        str(tmp_path / "demo ü"),
        "--steps",
        "12",
    ]
    dead_proxy = f"http://127.0.0.1:{free_port()}"
    env = environment(
        ray_folder, http_proxy=dead_proxy, https_proxy=dead_proxy, grpc_proxy=dead_proxy
    )
    env |= {"RAY_ADDRESS": "local", "RAY_AUTH_MODE": ""}  # neither opens the cluster to others
    env["HOME"] = str(tmp_path / "no home")
    with started(command, tmp_path / "first.log", env) as program:
        program.wait_for_text("waiting for the workers to start")
        check_closed_to_others(program)
        assert program.exit_code() == 0, program.output
        program.nothing_left()
        output = program.output
    assert "80 images, 1 shard\n" in output
    assert len(re.findall(r"metrics of worker \d: http://127\.0\.0\.1:\d+/metrics", output)) == 2
    assert "80 images 28x28x3, 12 steps of 32 on 2 workers (CPU), from the start" in output
    grid = re.search(r"^sample grid: +(.+)$", output, re.MULTILINE)
    assert grid, output
    picture = Image.open(grid[1])
    assert picture.mode == "RGB"
    assert picture.width / picture.height == pytest.approx(5 / 2, rel=0.05)  # a row for each class
    begun = time.monotonic()
    code, again = run(command, tmp_path / "second.log", environment(ray_folder))
    assert code == 0, again
    assert "already done (step 12)" in again
    assert grid[0] in again
    assert time.monotonic() - begun < 10


def check_closed_to_others(program: Program) -> None:
    """Check that Ray listens on loopback, and refuses callers with another token or none."""
    pids = {str(process.pid) for process in session_processes(program.pid)}
    lines = subprocess.run(
        ["ss", "-ltnpH"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    listening = [
        line.split()[3]
        for line in lines
        if (pid := re.search(r"pid=(\d+)", line)) and pid[1] in pids
    ]
    assert listening
    assert all(
        address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:", "[::1]:")) for address in listening
    ), listening
    head = next(
        line.split()[3].rpartition(":")[2]
        for line in lines
        if "gcs_server" in line and re.search(r"pid=(\d+)", line)[1] in pids
    )
    # Or Ray asks at the address of the network, where nothing listens.
    loopback = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    code = f"import ray; ray.init('127.0.0.1:{head}'); print('joined')"
    strangers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | loopback | token,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for token in (
            {"RAY_AUTH_MODE": "disabled"},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        )
    ]
    try:
        until = time.monotonic() + 12
        for stranger in strangers:
            with pytest.raises(subprocess.TimeoutExpired):  # Ray asks again and again
                stranger.wait(until - time.monotonic())
    finally:
        for stranger in strangers:
            stranger.kill()
    for stranger in strangers:
        said = stranger.communicate()[0]
        assert b"InvalidAuthToken" in said
        assert b"joined" not in said
