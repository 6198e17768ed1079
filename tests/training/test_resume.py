"""The checkpoint that an attempt resumes from, the same on every worker.

It is the newest one that is whole and does not crash the run.
"""

import json
import shutil
from pathlib import Path

import pytest

from job.checkpoints import crash_counts
from job.checkpoints.checkpoints import QUARANTINED
from job.config.errors import ConfigError, StorageError
from job.run import attempts
from job.storage.store import Interrupted
from job.storage.uri import open_store
from job.training import resume
from tests.checkpoints.saves import Breaking, LosingAnswers, counting, parts_of
from tests.servers.s3 import S3Server
from tests.training.run_folder import Run, Values, part_of

pytestmark = [pytest.mark.training, pytest.mark.timeout(60)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("name", ["generator.npz", "discriminator.npz"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "swapped"])
def test_every_damage_falls_back_and_is_quarantined(run: Run, name: str, damage: str) -> None:
    path = part_of(run, 30, name)
    data = path.read_bytes()
    changed = {
        "truncated": data[:-1],
        "flipped": bytes([data[0] ^ 1]) + data[1:],
        "swapped": part_of(run, 20, name).read_bytes(),
    }
    path.unlink() if damage == "missing" else path.write_bytes(changed[damage])
    assert run.restore() == 20
    assert part_of(run, 30, QUARANTINED).exists()
    path.write_bytes(data)  # whole again, but it was found damaged: a person decides
    assert run.restore() == 20
    run.checkpoints.release(30)
    assert run.restore() == 30


def test_damage_everywhere_stops_every_attempt(run: Run) -> None:
    for step in (10, 20, 30):
        part_of(run, step, "generator.npz").unlink()
    for _ in range(2):  # the second finds all of them quarantined
        with pytest.raises(
            StorageError, match=r"3 checkpoints, none of them whole .*; expected at least one"
        ):
            run.restore()


def test_manifests_that_cannot_be_read_stop_an_attempt_too(run: Run) -> None:
    for step in (10, 20, 30):
        part_of(run, step, "manifest.json").write_bytes(b"{")
    with pytest.raises(StorageError, match="none of them whole"):
        run.restore()


def test_a_checkpoint_that_ends_two_attempts_is_skipped(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert [run.restore() for _ in range(4)] == [30, 30, 20, 20]
    # Two of them: the cause is elsewhere, and nothing has to be trained again for it.
    assert [run.restore() for _ in range(2)] == [30, 30]
    assert "the run crashed right after step 20, too: resuming from step 30 again" in caplog.text
    assert "checkpoint of step 30 skipped: the run crashed 2 times right after it" in caplog.text


def test_an_attempt_whose_count_is_written_twice_counts_once(run: Run) -> None:
    """The write's answer is lost, so it is repeated: a second attempt still takes the newest."""
    losing = LosingAnswers(open_store(run.uri), "write")
    assert run.restore(store=losing) == 30
    assert losing.num_lost == 1
    assert [run.restore(), run.restore()] == [30, 20]


@pytest.mark.parametrize("end", [None, ("stopped", None), ("failed", 3)])
def test_a_stop_is_not_a_crash(run: Run, end: tuple[str, int | None] | None) -> None:
    """Ctrl-C, a kill of everything, a store that is away, each before the first call ended."""
    for _ in range(4):
        program = attempts.begin(open_store(run.uri), {})
        run.stamp, run.num_attempts = program.stamp, 0
        assert run.restore() == 30
        if end:
            program.end(end[0], "", end[1])


def test_a_crash_that_ends_the_program_counts(run: Run) -> None:
    found = []
    for _ in range(3):
        program = attempts.begin(open_store(run.uri), {})
        run.stamp, run.num_attempts = program.stamp, 0
        found.append(run.restore())
        program.end("failed", "training crashed", 1)
    assert found == [30, 30, 20]


def test_workers_that_come_and_go_are_not_a_crash(run: Run) -> None:
    """Nodes are taken away, and the run continues with as many workers as there are."""
    assert [run.restore(world_size=size) for size in (4, 3, 2, 3)] == [30] * 4


def test_a_lost_node_is_not_a_crash(run: Run) -> None:
    """The driver lives and the number of workers is fixed, but their hosts change."""
    assert [run.restore(hosts=hosts) for hosts in (1, 2, 3, 4)] == [30] * 4


def test_crashes_on_the_same_hosts_count_after_a_lost_node(run: Run) -> None:
    """A new pod on the same node has the same number, so its crash counts."""
    assert [run.restore(hosts=hosts) for hosts in (1, 2, 2, 2)] == [30, 30, 30, 20]


def test_a_rollback_before_the_first_call_ended_is_not_a_crash(run: Run) -> None:
    for _ in range(4):
        run.num_attempts = 0
        assert run.restore() == 30


def test_a_mark_without_hosts_is_a_crash_of_as_many_workers(run: Run) -> None:
    """Written by an earlier version, whose driver still runs."""
    assert run.restore() == 30
    path = Path(run.uri) / crash_counts.KEY
    document = json.loads(path.read_text())
    del document["begun"]["hosts"]
    path.write_text(json.dumps(document))
    assert [run.restore(), run.restore()] == [30, 20]


def test_the_counts_of_an_earlier_version_are_read(run: Run) -> None:
    open_store(run.uri).write(crash_counts.KEY, b'{"step 30 of 2026-01-01T00:00:00+00:00": 2}')
    assert run.restore() == 20


def test_an_attempt_that_trains_clears_the_count(run: Run) -> None:
    assert [run.restore(), run.train_from_newest()] == [30, 30]
    assert [run.restore() for _ in range(3)] == [30, 30, 20]


def test_the_only_checkpoint_is_taken_however_often_it_crashed(run: Run) -> None:
    for step in (10, 20):
        shutil.rmtree(part_of(run, step, ""))
    assert [run.restore() for _ in range(4)] == [30] * 4


def test_an_empty_run_folder_is_a_fresh_start(run: Run) -> None:
    shutil.rmtree(run.uri)
    assert run.restore() is None


def chosen_by(run: Run) -> Values:
    """Return what the chief of ``run`` broadcasts."""
    said: list[Values] = []
    run.resume(said=said).restore()
    (values,) = said
    return values


def test_every_worker_takes_the_chiefs_choice(run: Run) -> None:
    part_of(run, 30, "generator.npz").unlink()
    chosen = chosen_by(run)
    assert run.restore(1, chosen) == 20


def test_a_worker_reads_what_it_needs_and_nothing_else(run: Run) -> None:
    """512 workers may start at once. ``generator.keras`` is for people."""
    for step in (10, 20, 30):
        manifest = run.checkpoints.manifest(step)
        run.checkpoints.save(manifest, {**parts_of(step), "generator.keras": b"another 100 MB"})
    folder = "checkpoints/step-000000030/"
    state = [(name, f"{folder}{part}") for part in parts_of(30) for name in ("stat", "read")]
    chosen = chosen_by(run)
    worker = counting(open_store(run.uri))
    assert run.restore(1, chosen, worker) == 30
    assert worker.asked == [("read_range", f"{folder}manifest.json"), *state]
    chief = counting(open_store(run.uri))
    assert run.restore(store=chief) == 30
    read = [(name, key) for name, key in chief.asked if key != crash_counts.KEY]
    assert read == [("list", "checkpoints/"), ("read_range", f"{folder}manifest.json"), *state]


def test_a_worker_that_sees_other_bytes_stops(run: Run, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    other = Run(tmp_path / "another")
    part_of(other, 30, "manifest.json").write_bytes(
        part_of(other, 30, "manifest.json").read_bytes().replace(b'"sha256": "', b'"sha256": "', 1)
    )
    other.checkpoints.save(other.checkpoints.committed()[0], {"generator.npz": b"other bytes"})
    with pytest.raises(
        StorageError, match=r"worker 1 read another checkpoint of step 30 than the chief"
    ):
        run.restore(1, chosen_by(other))


def test_reading_is_repeated_while_the_store_is_busy(run: Run) -> None:
    def at_first(request: int, name: str) -> None:
        if request < 4:
            raise Interrupted("slow down", "throttled")

    assert run.restore(store=Breaking(open_store(run.uri), at_first)) == 30


def test_another_run_folder_is_where_a_new_one_begins(run: Run, tmp_path: Path) -> None:
    origin = run.uri
    run.uri = str(tmp_path / "second")
    run.settings = {"checkpoints.resume": origin}
    assert run.restore() == 30
    assert run.restore(1, chosen_by(run)) == 30
    run.settings = {"checkpoints.resume": f"{origin}/checkpoints/step-000000020"}
    assert run.restore() == 20
    run.save(5)
    assert run.restore() == 5  # its own comes first, or a restart would begin again
    assert not part_of(run, 30, "").exists()


def test_one_wrong_reading_quarantines_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store, wrong = open_store(run.uri), iter([b"not what was written"])
    read = store.read
    monkeypatch.setattr(
        store,
        "read",
        lambda key: (next(wrong, None) if key.endswith(".npz") else None) or read(key),
    )
    assert run.restore(store=store) == 30
    assert next(wrong, None) is None
    assert not part_of(run, 30, QUARANTINED).exists()


def test_an_origin_without_checkpoints_is_refused(run: Run, tmp_path: Path) -> None:
    run.uri = str(tmp_path / "second")
    run.settings = {"checkpoints.resume": str(tmp_path / "nothing")}
    with pytest.raises(
        StorageError,
        match=r"nothing: no committed checkpoint there; expected one \(checkpoints.resume\)",
    ):
        run.restore()


@pytest.mark.s3
def test_a_run_folder_copied_to_another_store_is_resumed(run: Run, s3_env: S3Server) -> None:
    bucket = s3_env.new_bucket("copied")
    shutil.copytree(run.uri, s3_env.folder / bucket / "run")
    run.uri = f"s3://{bucket}/run"
    assert run.restore() == 30
    run.save(40)
    assert run.restore() == 40


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.generator.latent_size", 50),
        ("seed", 3),
        ("training.generator_optimizer.name", "adam"),
    ],
)
def test_another_model_or_order_is_refused(run: Run, key: str, value: object) -> None:
    run.settings = {key: value}
    with pytest.raises(ConfigError, match=str(value)):
        run.restore()


def test_other_settings_may_change(run: Run) -> None:
    run.settings = {
        "training.generator_optimizer.learning_rate": 0.5,
        "training.steps": 70,
        "workers.count": 4,
    }
    assert run.restore() == 30
