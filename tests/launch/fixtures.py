"""Fixtures of tests that start the program: packed images, Ray's folder, one finished run."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.launch.program import environment, pack_command, run, train_command

STEPS = 900
GRIDS_EVERY = 150
CHECKPOINT_EVERY = 50


class Finished(NamedTuple):
    """A run that nothing disturbed: its images, its folder and its output."""

    data: Path
    folder: Path
    output: str


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[Path]:
    """Ray's temporary files.

    Not below pytest's own folder: the path of a Unix socket has at most 107 bytes, and Ray appends
    80.
    """
    with tempfile.TemporaryDirectory(
        prefix="dcgan-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def garments(tmp_path_factory: pytest.TempPathFactory, ray_folder: Path) -> Path:
    """512 packed grey images of 28x28 in several shards."""
    folder = tmp_path_factory.mktemp("garments")
    code, output = run(
        [*pack_command(512, folder / "packed"), "--shard-bytes", "64KiB"],
        folder / "pack.log",
        environment(ray_folder),
    )
    assert code == 0, output
    return folder / "packed"


@pytest.fixture(scope="session")
def undisturbed(
    garments: Path, tmp_path_factory: pytest.TempPathFactory, ray_folder: Path
) -> Finished:
    """A run of ``STEPS`` steps on two workers."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = run_command(garments, folder / "run")
    code, output = run(command, folder / "train.log", environment(ray_folder), seconds=300)
    assert code == 0, output
    return Finished(garments, folder / "run", output)


def run_command(data: Path, folder: Path, **settings: object) -> list[str]:
    """Return the command of ``undisturbed``, with another folder or other settings."""
    plan = {
        "training__steps": STEPS,
        "checkpoints__every_steps": CHECKPOINT_EVERY,
        "checkpoints__keep": 2,
        "samples__every_steps": GRIDS_EVERY,
    }
    return train_command(data, folder, **(plan | settings))
