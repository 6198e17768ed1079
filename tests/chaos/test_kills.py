"""A run on S3, killed at random moments, ends with the very bits of one that nobody touched (on CPU). ``make chaos`` does it 20 times."""

import os
from pathlib import Path

import pytest

from tests.chaos.kills import chaos, differences
from tests.launch.fixtures import STEPS, Finished
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(3000)]
KILLS = int(os.environ.get("CHAOS_KILLS", "2"))


@pytest.mark.parametrize("seed", [4])
def test_random_kills_change_no_bit(s3_server: S3Server, undisturbed: Finished, tmp_path: Path, ray_folder: Path, seed: int) -> None:
    with chaos(s3_server, tmp_path, ray_folder, undisturbed.data, seed, training__steps=STEPS) as running:
        running.run(KILLS)
        assert len(running.kills) == KILLS
        assert differences(undisturbed.folder, running.run_folder, STEPS) == []
