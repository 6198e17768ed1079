"""Runs that start and must end: each with its exit code and message, and nothing left running.

Every good checkpoint is kept.
"""

import re
import shutil
from pathlib import Path

import pytest

from tests.launch.fixtures import STEPS, Finished, run_command
from tests.launch.program import environment, run, state, train_command, whole_checkpoints
from tests.servers.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


def last_line(output: str) -> str:
    """Return the error, alone on the last line; a user sees no traceback."""
    assert "Traceback" not in output
    return output.rstrip("\n").rpartition("\n")[2]


@pytest.mark.live
def test_losses_that_are_not_finite_stop_the_run_and_keep_the_last_checkpoint(
    undisturbed: Finished, tmp_path: Path, ray_folder: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(undisturbed.folder, folder)
    wild = {
        f"training__{network}_optimizer__learning_rate": "1e30"
        for network in ("generator", "discriminator")
    }
    command = run_command(undisturbed.data, folder, **wild, training__steps=STEPS + 100)
    code, output = run(command, tmp_path / "train.log", environment(ray_folder))
    assert code == 4, output
    said = re.match(
        r"error: step (\d+): \w+ is (nan|inf|-inf); expected a finite number. That was number 3,"
        r" each with other noise \(training.max_rollbacks is 2\)."
        r" Last good checkpoint: step (\d+) in (\S+)\. ",
        last_line(output),
    )
    assert said, output
    assert STEPS - 50 < int(said[1]) <= STEPS + 20
    assert int(said[3]) in (STEPS, STEPS - 50)  # the second time the checkpoint itself is suspected
    assert said[4] == str(folder)
    assert whole_checkpoints(folder) == [STEPS, STEPS - 50]
    assert state(folder, STEPS).keys() == state(undisturbed.folder, STEPS).keys()
    assert not (folder / "checkpoints" / f"step-{STEPS + 50:09d}").exists()


@pytest.mark.live
def test_a_damaged_shard_stops_the_run_and_is_named(
    garments: Path, tmp_path: Path, ray_folder: Path
) -> None:
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(garments, data)
    shard = sorted(data.glob("shard-*.u8"))[2]
    pixels = bytearray(shard.read_bytes())
    pixels[100] ^= 1
    shard.write_bytes(pixels)
    code, output = run(
        train_command(data, folder, training__steps=100),
        tmp_path / "train.log",
        environment(ray_folder),
    )
    assert code == 5, output
    assert f"{shard}: has SHA-256" in last_line(output)
    assert f"dcgan-train data verify file://{data}" in last_line(output)
    assert whole_checkpoints(folder) == []


@pytest.mark.parametrize("address", ["127.0.0.1:PORT", "nonsense"])
def test_a_ray_address_where_nobody_answers(
    address: str, garments: Path, tmp_path: Path, ray_folder: Path
) -> None:
    address = address.replace("PORT", str(free_port()))
    command = train_command(garments, tmp_path / "run", training__steps=100)
    code, output = run(
        command, tmp_path / "train.log", environment(ray_folder, RAY_ADDRESS=address), seconds=90
    )
    assert code == 2, output
    assert last_line(output).startswith(
        f"error: RAY_ADDRESS is {address}: no Ray cluster responds ("
    )
    assert last_line(output).endswith("expected a running one, or unset RAY_ADDRESS")


def test_a_temporary_folder_too_long_for_ray_is_one_line(garments: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    command = train_command(garments, tmp_path / "run", training__steps=100)
    code, output = run(command, tmp_path / "train.log", environment(long), seconds=90)
    assert code == 2, output
    assert last_line(output).startswith("error: Ray cannot start on this machine: ")
    assert last_line(output).endswith("set RAY_TMPDIR to a short one, for example RAY_TMPDIR=/tmp")
