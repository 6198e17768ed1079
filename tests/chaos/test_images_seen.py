"""The images that two workers see, by number and step, when one is killed again and again."""

import json
import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.launch.program import Program, started
from tests.servers.ports import free_port
from tests.servers.s3 import S3Server
from tests.streaming.sets import pack_numbered
from tests.streaming.test_faults import SETTINGS, STEPS

pytestmark = [
    pytest.mark.live,
    pytest.mark.s3,
    pytest.mark.training,
    pytest.mark.timeout(600),
]

Seen = dict[int, list[list[int]]]  # by first step: the numbers of each step of a chunk


def start(
    stack: ExitStack, folder: Path, uri: str, server: S3Server, run: str, number: int
) -> list[Program]:
    """Both workers, as a group."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    values = SETTINGS | {
        "uri": uri.replace("/set", f"/{run}"),
        "data.uri": uri,
        "data.cache_dir": folder / f"{run}-cache",
        "workers.count": 2,
        "checkpoints.every_steps": 20,
    }
    base = {
        key: value for key, value in os.environ.items() if not key.startswith("AWS_")
    } | server.env()
    programs = []
    for rank in range(2):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
        env = base | {
            "TF_CONFIG": json.dumps(cluster),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        command = [str(rank), "2", *(f"{key}={value}" for key, value in values.items())]
        log = folder / f"{run}-{number}-{rank}.log"
        seen = {"IMAGES_SEEN": str(folder / f"{run}-{rank}.seen")}
        programs.append(
            stack.enter_context(
                started(command, log, env | seen, "tests.streaming.worker", fork=True)
            )
        )
    return programs


def seen_by(folder: Path, run: str, rank: int) -> Seen:
    """Return what a worker read in all attempts; what it read twice has to be the same."""
    found: Seen = {}
    for line in (folder / f"{run}-{rank}.seen").read_text().splitlines():
        first_step, numbers = json.loads(line)
        assert found.setdefault(first_step, numbers) == numbers
    return found


def test_every_step_sees_the_same_images_if_one_is_killed(
    s3_server: S3Server, tmp_path: Path
) -> None:
    pack_numbered(tmp_path / "set", 1600, 40, height=8, width=8)
    bucket = s3_server.new_bucket("seen")
    shutil.copytree(tmp_path / "set", s3_server.folder / bucket / "set")
    uri = f"s3://{bucket}/set"
    with ExitStack() as stack:
        for program in start(stack, tmp_path, uri, s3_server, "plain", 0):
            assert program.exit_code(200) == 0, program.output
    for number, (rank, step) in enumerate(((1, 35), (0, 110), (0, STEPS))):
        with ExitStack() as stack:
            programs = start(stack, tmp_path, uri, s3_server, "killed", number)
            if step < STEPS:
                programs[rank].wait_for_text(rf"step {step}\b")
                programs[rank].send(signal.SIGKILL)
                continue  # as Ray does, the group ends with it
            for program in programs:
                assert program.exit_code(200) == 0, program.output
            assert "step 0\n" not in programs[0].output  # it resumed
    whole = []
    for rank in range(2):
        wanted, found = seen_by(tmp_path, "plain", rank), seen_by(tmp_path, "killed", rank)
        assert found == wanted
        whole.append(np.concatenate([wanted[step] for step in sorted(wanted)])[:STEPS])
    epoch = np.concatenate(whole, axis=1)[:100]
    assert np.array_equal(np.sort(epoch.ravel()), np.arange(1600))
