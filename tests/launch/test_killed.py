"""A run that is stopped or killed, again and again, ends with the very bits of one that nobody touched (on CPU)."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.storage.uri import open_store
from tests.launch.fixtures import CHECKPOINT_EVERY, GRIDS_EVERY, STEPS, Finished, run_command
from tests.launch.program import RAY_AGENTS, Program, environment, newest_step, started, state, whole_checkpoints

pytestmark = [pytest.mark.cluster, pytest.mark.training, pytest.mark.timeout(900)]


def test_an_undisturbed_run_leaves_what_it_promises(undisturbed: Finished) -> None:
    assert whole_checkpoints(undisturbed.folder) == [STEPS, STEPS - 50]
    assert json.loads((undisturbed.folder / "summary.json").read_text())["restarts"] == 0
    assert {path.name for path in (undisturbed.folder / "samples").iterdir()} == {
        *(f"step-{step:09d}.png" for step in range(0, STEPS + 1, GRIDS_EVERY)),
        "progress.gif",
    }
    for name in ("sample grid", "progress GIF", "checkpoint"):
        printed = re.search(rf"^{name}: +(?:file://)?(/.+)$", undisturbed.output, re.MULTILINE)
        assert printed, undisturbed.output
        assert Path(printed[1]).exists()


def test_stopped_and_killed_and_started_again_it_ends_with_the_same_bits(undisturbed: Finished, tmp_path: Path, ray_folder: Path) -> None:
    folder, env = tmp_path / "run", environment(ray_folder)
    command = run_command(undisturbed.data, folder)

    with started(command, tmp_path / "ctrl-c.log", env) as program:
        program.wait_for_checkpoint(folder, after=0)
        program.press_ctrl_c()
        check_stopped(program, 130, folder)

    with started(command, tmp_path / "sigterm.log", env) as program:
        program.wait_for_checkpoint(folder, after=check_goes_on(program, folder))
        program.send(signal.SIGTERM)
        check_stopped(program, 143, folder)

    with started(command, tmp_path / "sigkill.log", env) as program:
        program.wait_for_checkpoint(folder, after=check_goes_on(program, folder))
        program.send(signal.SIGKILL)
        assert program.exit_code() == -signal.SIGKILL
        program.nothing_left(but=RAY_AGENTS)
        check_unfinished(folder)

    with started(command, tmp_path / "last.log", env) as program:
        check_goes_on(program, folder)
        assert program.exit_code(300) == 0, program.output
        program.nothing_left()

    check_same_bits(undisturbed.folder, folder)


def check_goes_on(program: Program, folder: Path) -> int:
    """The started program says which checkpoint it goes on from, and it is the newest one."""
    said = int(program.wait_for_text(r"going on from step (\d+)")[1])
    assert said == newest_step(folder) > 0
    return said


def check_stopped(program: Program, code: int, folder: Path) -> None:
    """The step that was being trained is saved: nothing is lost, whatever the schedule says."""
    assert program.exit_code(60) == code, program.output
    program.nothing_left()
    check_unfinished(folder)
    newest = Checkpoints(open_store(str(folder))).committed()[0]
    assert newest.reason == "preemption" or newest.step % CHECKPOINT_EVERY == 0
    assert "stopping after a last checkpoint, for at most 25 s; once more to stop at once" in program.output
    assert f"the last checkpoint is step {newest_step(folder)}; the same command goes on from there" in program.output
    assert "Traceback" not in program.output


def check_unfinished(folder: Path) -> None:
    """Nothing is half-written, and there is something left to do."""
    assert 0 < whole_checkpoints(folder)[0] < STEPS


def check_same_bits(expected: Path, found: Path) -> None:
    ours, theirs = state(found, STEPS), state(expected, STEPS)
    assert {name.partition(":")[0] for name in theirs} == {
        "generator.npz",
        "discriminator.npz",
        "generator_optimizer.npz",
        "discriminator_optimizer.npz",
    }
    assert ours.keys() == theirs.keys()
    different = [name for name in theirs if theirs[name].tobytes() != ours[name].tobytes()]
    assert not different, f"{len(different)} of {len(theirs)} arrays differ, first {different[0]}"
    assert any(np.ptp(array) for array in theirs.values())
    for step in range(0, STEPS + 1, GRIDS_EVERY):
        name = f"samples/step-{step:09d}.png"
        assert (found / name).read_bytes() == (expected / name).read_bytes()
