"""Retention: the checkpoints that are kept, and the files that are never touched."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from job.checkpoints.best import Best
from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.retention import prune
from job.config.errors import StorageError
from job.config.spec import CheckpointSpec
from job.run.lease import LeaseLost
from job.storage.store import ObjectStore
from tests.checkpoints.saves import Breaking, counting, facts, parts_of, save, steps_of, tree
from tests.servers.tools import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_the_newest_are_kept(store: ObjectStore) -> None:
    prune(save(store, 10, 20, 30, 40), CheckpointSpec(keep=2))
    assert steps_of(store) == [40, 30]


def test_round_steps_pinned_ones_and_the_best_are_kept(store: ObjectStore) -> None:
    checkpoints = Checkpoints(store)
    for step, loss in (
        (100, 0.9),
        (150, 0.1),
        (200, 0.8),
        (250, 0.2),
        (300, 0.7),
        (350, float("nan")),
        (400, 0.6),
    ):
        checkpoints.save(
            facts(step, generator_loss=loss) if loss == loss else facts(step), parts_of(step)
        )
    checkpoints.pin(250)
    prune(checkpoints, CheckpointSpec(keep=1, keep_every_steps=200, keep_best=1))
    assert steps_of(store) == [400, 250, 200, 150]
    checkpoints.unpin(250)
    prune(checkpoints, CheckpointSpec(keep=1, keep_every_steps=200, keep_best=1))
    assert steps_of(store) == [400, 200, 150]
    prune(checkpoints, CheckpointSpec(keep=1, keep_best=1, best_by="a metric that nothing has"))
    assert steps_of(store) == [400]


def test_the_checkpoint_with_the_best_score_is_kept(store: ObjectStore) -> None:
    checkpoints = Checkpoints(store)
    for step, best in ((10, Best(9.5, 10)), (20, Best(8.0, 20)), (30, Best(8.0, 20))):
        checkpoints.save(facts(step, **best.to_metrics()), parts_of(step))
    checkpoints.save(facts(40, **Best(8.0, 20).to_metrics()), parts_of(40))
    prune(checkpoints, CheckpointSpec(keep=1))
    assert steps_of(store) == [40, 20]


def test_only_a_committed_step_can_be_pinned(store: ObjectStore) -> None:
    with pytest.raises(
        StorageError,
        match=r"no committed checkpoint of step 15; expected one that `checkpoints list` shows",
    ):
        save(store, 10).pin(15)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_the_last_good_one_is_kept_below_newer_damaged_ones(
    store: ObjectStore, damage: str
) -> None:
    """``keep`` is 1, and the newest is not whole: a restart needs the one before."""
    checkpoints = save(store, 10, 20, 30)
    key = "checkpoints/step-000000030/generator.npz"
    store.delete(key) if damage == "missing" else store.write(key, b"short")
    prune(checkpoints, CheckpointSpec(keep=1))
    assert steps_of(store) == [30, 20]
    assert checkpoints.restore()[0].step == 20


def test_a_quarantined_one_is_neither_counted_nor_removed(store: ObjectStore) -> None:
    checkpoints = save(store, 10, 20, 30)
    checkpoints.quarantine(checkpoints.committed()[0], "generator.npz: SHA-256 differs")
    assert steps_of(store) == [20, 10]
    prune(checkpoints, CheckpointSpec(keep=1))
    assert steps_of(store) == [20]
    (quarantined,) = (folder for folder in checkpoints.folders() if folder.is_quarantined)
    assert checkpoints.why_quarantined(quarantined) == "generator.npz: SHA-256 differs"
    checkpoints.release(30)
    assert steps_of(store) == [30, 20]


def test_the_step_just_committed_is_kept_behind_newer_ones(store: ObjectStore) -> None:
    """A run that passed a checkpoint over trains on behind it."""
    checkpoints = save(store, 10, 20, 15)
    prune(checkpoints, CheckpointSpec(keep=1), committed=15)
    assert steps_of(store) == [20, 15]


def test_a_pinned_one_that_is_being_written_again_is_kept(store: ObjectStore) -> None:
    checkpoints = save(store, 10, 20)
    checkpoints.pin(10)
    store.delete("checkpoints/step-000000010/manifest.json")
    prune(checkpoints, CheckpointSpec(keep=1))
    assert store.stat("checkpoints/step-000000010/generator.npz")


def test_a_job_that_lost_the_run_folder_removes_nothing(store: ObjectStore, folder: Path) -> None:
    def lost() -> None:
        raise LeaseLost("another job trains here")

    checkpoints = save(store, 10, 20, 30)
    store.write("checkpoints/step-000000040/generator.npz", b"that job's next one")
    before = tree(folder)
    for keep in (1, 3):
        with pytest.raises(LeaseLost):
            prune(checkpoints, CheckpointSpec(keep=keep), check_owner=lost)
    assert tree(folder) == before


def test_the_unfinished_file_of_a_killed_process_is_removed(
    store: ObjectStore, folder: Path
) -> None:
    checkpoints = save(store, 10, 20)
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, sys; from pathlib import Path\n"
            "from job.storage.atomic import whole_file\n"
            "with whole_file(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)",
            str(folder / "checkpoints" / "step-000000010" / "generator.npz"),
        ],
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert any(".~" in name for name in tree(folder))
    prune(checkpoints, CheckpointSpec(keep=1))
    assert not (folder / "checkpoints" / "step-000000010").exists()


def test_a_folder_with_other_zeros_is_left_alone(store: ObjectStore) -> None:
    checkpoints = save(store, 10)
    store.write("checkpoints/step-0000000010/generator.npz", b"unknown")
    prune(checkpoints, CheckpointSpec(keep=1))
    assert steps_of(store) == [10]
    assert checkpoints.restore()[1] == parts_of(10)
    assert store.read("checkpoints/step-0000000010/generator.npz") == b"unknown"


def test_only_leftovers_of_killed_saves_are_collected(store: ObjectStore, folder: Path) -> None:
    checkpoints = save(store, 10, 20)
    foreign = {
        "checkpoints/notes.txt",
        "checkpoints/step-000000005/notes.txt",
        "checkpoints/step-7/generator.npz",
        "checkpoints/step-000000006/deeper/generator.npz",
        "samples/step-000000010.png",
    }
    for key in (
        *foreign,
        "checkpoints/step-000000005/generator.npz",
        "checkpoints/step-000000015/discriminator.npz",
    ):
        store.write(key, b"x")
    store.write(
        "checkpoints/step-000000008/manifest.json", json.dumps({"format_version": 99}).encode()
    )
    store.write("checkpoints/step-000000008/generator.npz", b"of another version")
    prune(checkpoints, CheckpointSpec(keep=2))
    left = {
        name
        for name in tree(folder)
        if "step-000000010/" not in name and "step-000000020/" not in name
    }
    assert left == {
        *foreign,
        "checkpoints/step-000000008/manifest.json",
        "checkpoints/step-000000008/generator.npz",
    }


def test_nothing_is_collected_before_a_good_one_exists(store: ObjectStore, folder: Path) -> None:
    store.write("checkpoints/step-000000005/generator.npz", b"x")
    prune(Checkpoints(store), CheckpointSpec(keep=1))
    assert tree(folder) == {"checkpoints/step-000000005/generator.npz"}


def read_manifests(counted: Breaking) -> list[int]:
    """Return the steps whose manifests were read since the last call."""
    steps = [
        int(key.split("-")[1][:9])
        for name, key in counted.asked
        if name.startswith("read") and key.endswith("manifest.json")
    ]
    counted.asked.clear()
    return steps


def test_only_the_manifests_that_decide_something_are_read(store: ObjectStore) -> None:
    """Hundred are kept for good; a save removes one that is not, and looks at the newest three."""
    counted = counting(store)
    checkpoints = save(counted, *range(10, 1010, 10), 1011, 1012, 1013, 1014)
    spec, known = CheckpointSpec(keep=3, keep_every_steps=10), {}
    prune(checkpoints, spec, committed=1014, known=known)
    assert read_manifests(counted) == [1014, 1013, 1012, 1011]
    assert steps_of(store)[:4] == [1014, 1013, 1012, 1000]
    save(counted, 1015)
    prune(checkpoints, spec, committed=1015, known=known)
    assert read_manifests(counted) == [1015]
    assert steps_of(store)[:4] == [1015, 1014, 1013, 1000]


def test_the_best_are_found_with_each_manifest_read_once(store: ObjectStore) -> None:
    counted = counting(store)
    checkpoints = Checkpoints(counted)
    for step in range(10, 210, 10):
        checkpoints.save(facts(step, generator_loss=float(abs(step - 50))), parts_of(step))
    spec, known = CheckpointSpec(keep=1, keep_best=2, keep_every_steps=100), {}
    prune(checkpoints, spec, committed=200, known=known)
    assert sorted(read_manifests(counted)) == list(range(10, 210, 10))
    assert steps_of(store) == [200, 100, 60, 50]
    checkpoints.save(facts(210, generator_loss=0.5), parts_of(210))
    prune(checkpoints, spec, committed=210, known=known)
    assert read_manifests(counted) == [210]
    assert steps_of(store) == [210, 200, 100, 50]
    store.write(
        "checkpoints/step-000000050/generator.npz", b"short"
    )  # whole no more, by the listing: it does not count
    checkpoints.save(facts(220, generator_loss=100.0), parts_of(220))
    prune(checkpoints, spec, committed=220, known=known)
    assert steps_of(store) == [220, 210, 200, 100, 50]
    assert {step for step, _ in known} == {
        220,
        210,
        200,
        100,
        50,
    }  # and those that are gone are forgotten


def test_a_step_that_was_saved_again_is_read_again(store: ObjectStore) -> None:
    counted = counting(store)
    checkpoints, known = save(counted, 10, 20), {}
    prune(checkpoints, CheckpointSpec(keep=2), known=known)
    assert read_manifests(counted) == [20, 10]
    save(counted, 20)
    prune(checkpoints, CheckpointSpec(keep=2), known=known)
    assert read_manifests(counted) == [20]
