"""A run on S3, killed at random moments, ends with the very bits of one that nobody touched (on CPU). ``make chaos`` does it 20 times."""

import json
import os
from pathlib import Path

import pytest

from tests.chaos.kills import Moment, Victim, chaos, differences, random_plan
from tests.launch.fixtures import STEPS, Finished
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(3000)]
SEED = 4
# Ray starts a dead worker again but not a dead controller, and keeps what that had reserved: the second time there was no room left.
# Before a run restores, a worker is killed.
TWICE = [(Victim.CONTROLLER, Moment.SAVING), (Victim.CONTROLLER, Moment.RESTORING)]
KILLS = int(os.environ.get("CHAOS_KILLS", "0"))


def test_kills_change_no_bit(s3_server: S3Server, undisturbed: Finished, tmp_path: Path, ray_folder: Path) -> None:
    plan = random_plan(KILLS, SEED) if KILLS else TWICE
    with chaos(s3_server, tmp_path, ray_folder, undisturbed.data, SEED, training__steps=STEPS) as running:
        running.run(plan)
        assert [(kill.victim, kill.moment) for kill in running.kills] == plan
        assert json.loads((running.run_folder / "summary.json").read_text())["restarts"] >= (0 if KILLS else 3)
        assert differences(undisturbed.folder, running.run_folder, STEPS) == []
