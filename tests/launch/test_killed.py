"""A run that is stopped or killed, again and again, ends with the very bits of one that nobody touched (on CPU). ``make chaos`` kills 20 times."""

import json
import re
from pathlib import Path

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.storage.uri import open_store
from tests.chaos.kills import Chaos, Moment, Victim, chaos, differences
from tests.launch.fixtures import CHECKPOINT_EVERY, GRIDS_EVERY, STEPS, Finished
from tests.launch.program import Program, newest_step, state, whole_checkpoints
from tests.servers.s3 import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]

# Ray starts a dead worker again but not a dead controller, and keeps what that had reserved: the second time there was no room left.
# Before a run restores, a worker is killed.
KILLS = [
    (Victim.CONTROLLER, Moment.SAVING),
    (Victim.CONTROLLER, Moment.RESTORING),
    (Victim.DRIVER, Moment.TRAINING),
]


def test_an_undisturbed_run_leaves_what_it_promises(undisturbed: Finished) -> None:
    assert whole_checkpoints(undisturbed.folder) == [STEPS, STEPS - CHECKPOINT_EVERY]
    assert {name.partition(":")[0] for name in state(undisturbed.folder, STEPS)} == {
        "generator.npz",
        "discriminator.npz",
        "generator_optimizer.npz",
        "discriminator_optimizer.npz",
    }
    assert json.loads((undisturbed.folder / "summary.json").read_text())["restarts"] == 0
    assert {path.name for path in (undisturbed.folder / "samples").iterdir()} == {
        *(f"step-{step:09d}.png" for step in range(0, STEPS + 1, GRIDS_EVERY)),
        "progress.gif",
    }
    for name in ("sample grid", "progress GIF", "checkpoint"):
        printed = re.search(rf"^{name}: +(?:file://)?(/.+)$", undisturbed.output, re.MULTILINE)
        assert printed, undisturbed.output
        assert Path(printed[1]).exists()


@pytest.mark.s3
def test_stopped_and_killed_and_started_again_it_ends_with_the_same_bits(
    s3_server: S3Server, undisturbed: Finished, tmp_path: Path, ray_folder: Path
) -> None:
    """On S3; the undisturbed one was on files."""
    settings = {"training__steps": STEPS, "samples__every_steps": GRIDS_EVERY}
    with chaos(s3_server, tmp_path, ray_folder, undisturbed.data, seed=4, **settings) as running:
        with running.start() as program:
            program.wait_for_checkpoint(running.run_folder, after=0)
            program.press_ctrl_c()
            check_stopped(program, 130, running)
        with running.start() as program:
            program.wait_for_checkpoint(
                running.run_folder, after=check_goes_on(program, running.run_folder)
            )
            program.close_terminal()  # `ray job stop` sends SIGTERM: test_ray_job
            check_stopped(program, 143, running)
        output = running.run(KILLS)
        assert [(kill.victim, kill.moment) for kill in running.kills] == KILLS
        assert running.num_starts == 4
        assert running.kills[-1].committed_step <= goes_on_from(output) < STEPS
        found = running.run_folder
    assert whole_checkpoints(found)[0] == STEPS
    assert differences(undisturbed.folder, found, STEPS) == []
    for step in range(0, STEPS + 1, GRIDS_EVERY):
        name = f"samples/step-{step:09d}.png"
        assert (found / name).read_bytes() == (undisturbed.folder / name).read_bytes()


def check_goes_on(program: Program, folder: Path) -> int:
    """The started program says which checkpoint it goes on from, and it is the newest one."""
    program.wait_for_text(r"going on from step \d+")
    assert goes_on_from(program.output) == newest_step(folder) > 0
    return newest_step(folder)


def goes_on_from(output: str) -> int:
    found = re.search(r"going on from step (\d+)", output)
    assert found, output
    return int(found[1])


def check_stopped(program: Program, code: int, running: Chaos) -> None:
    """The step that was being trained is saved: nothing is lost, whatever the schedule says, or half-written, and there is something left to do."""
    assert program.exit_code(60) == code, program.output
    program.nothing_left()
    assert 0 < whole_checkpoints(running.run_folder)[0] < STEPS
    newest = Checkpoints(open_store(str(running.run_folder))).committed()[0]
    assert newest.reason == "preemption" or newest.step % CHECKPOINT_EVERY == 0
    assert (
        "stopping after a last checkpoint, for at most 25 s; once more to stop at once"
        in program.output
    )
    assert (
        f"the last checkpoint is step {newest.step}; the same command goes on from there"
        in program.output
    )
    assert "Traceback" not in program.output
