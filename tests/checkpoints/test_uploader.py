"""The upload thread: the events that training sees, and the store at every moment."""

import threading
from collections.abc import Callable

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.uploader import SaveEvent, SaveFailed, Uploader
from job.config.errors import DivergedError, StorageError
from job.config.spec import CheckpointSpec
from job.run.lease import LeaseLost
from job.storage.store import Interrupted, ObjectStore
from tests.checkpoints.saves import (
    PARTS,
    Breaking,
    facts,
    for_good_from,
    parts_of,
    save,
    steps_of,
)

pytestmark = pytest.mark.timeout(60)
WAIT_SECONDS = 20.0


def uploader(
    store: object, check_owner: Callable[[], None] = lambda: None, **settings: object
) -> Uploader:
    return Uploader(Checkpoints(store), CheckpointSpec(**settings), check_owner)


def outcomes(events: list[SaveEvent]) -> list[tuple[int, str]]:
    return [(event.step, event.outcome) for event in events]


class Gate:
    """Holds every write until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.is_waited_at = threading.Event()

    def __call__(self, request: int, name: str) -> None:
        if name == "write":
            self.is_waited_at.set()
            assert self._open.wait(WAIT_SECONDS)

    def open(self) -> None:
        self._open.set()


def test_training_continues_while_a_slow_store_is_written_to(store: ObjectStore) -> None:
    gate = Gate()
    with uploader(Breaking(store, gate)) as saving:
        saving.save(facts(10), lambda: parts_of(10))
        assert gate.is_waited_at.wait(WAIT_SECONDS)
        assert not saving.is_idle
        assert saving.events() == []
        assert steps_of(store) == []
        gate.open()
        assert saving.finish(WAIT_SECONDS)
        (event,) = saving.events()
        assert event[:2] == (10, "committed")
        assert event.num_bytes == sum(map(len, parts_of(10).values()))
    assert steps_of(store) == [10]


def test_a_commit_says_where_its_time_went(store: ObjectStore) -> None:
    """The clock counts actions: 2 for the arrays, then 5 requests, the manifest last."""
    now = [0.0]

    def tick(*_: object) -> None:
        now[0] += 1

    def pack() -> dict[str, bytes]:
        tick()
        tick()
        return parts_of(10)

    with Uploader(
        Checkpoints(Breaking(store, tick)), CheckpointSpec(), clock=lambda: now[0]
    ) as saving:
        saving.save(facts(10), pack)
        assert saving.finish(WAIT_SECONDS)
        (event,) = saving.events()
    assert event.stages == {"pack": 2, "upload": 4, "commit": 1}
    assert sum(event.stages.values()) == event.seconds


def test_the_parts_are_made_in_the_upload_thread(store: ObjectStore) -> None:
    threads = []
    with uploader(store) as saving:
        saving.save(facts(10), lambda: threads.append(threading.current_thread()) or parts_of(10))
        assert saving.finish(WAIT_SECONDS)
    assert [thread.name for thread in threads] == ["checkpoint-upload"]


def test_the_next_save_waits_for_the_one_before(store: ObjectStore) -> None:
    gate = Gate()
    with uploader(Breaking(store, gate), when_busy="wait") as saving:
        saving.save(facts(10), lambda: parts_of(10))
        assert gate.is_waited_at.wait(WAIT_SECONDS)
        second = threading.Thread(target=saving.save, args=(facts(20), lambda: parts_of(20)))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        gate.open()
        second.join(WAIT_SECONDS)
        assert not second.is_alive()
        assert saving.finish(WAIT_SECONDS)
        assert outcomes(saving.events()) == [(10, "committed"), (20, "committed")]
    assert steps_of(store) == [20, 10]


def test_a_save_at_the_same_time_is_skipped_and_counted(store: ObjectStore) -> None:
    gate = Gate()
    with uploader(Breaking(store, gate), when_busy="skip") as saving:
        saving.save(facts(10), lambda: parts_of(10))
        assert gate.is_waited_at.wait(WAIT_SECONDS)
        saving.save(facts(20), lambda: parts_of(20))
        (event,) = saving.events()
        assert event[:2] == (20, "skipped")
        assert event.reason == "the save of step 10 is still under way"
        gate.open()
        assert saving.finish(WAIT_SECONDS)
    assert steps_of(store) == [10]


def test_a_save_does_not_wait_longer_than_the_other_workers_may(store: ObjectStore) -> None:
    gate = Gate()
    with Uploader(
        Checkpoints(Breaking(store, gate)), CheckpointSpec(when_busy="wait"), max_wait_seconds=0.05
    ) as saving:
        saving.save(facts(10), lambda: parts_of(10))
        assert gate.is_waited_at.wait(WAIT_SECONDS)
        saving.save(facts(20), lambda: parts_of(20))
        assert [event[:2] for event in saving.events()] == [(20, "skipped")]
        gate.open()


def test_hiccups_are_repeated_and_counted(store: ObjectStore) -> None:
    def every_second(request: int, name: str) -> None:
        if request % 2:
            raise Interrupted(f"request {request}: slow down", "throttled")

    with uploader(Breaking(store, every_second)) as saving:
        saving.save(facts(10), lambda: parts_of(10))
        assert saving.finish(WAIT_SECONDS)
        events = saving.events()
    assert outcomes(events)[-1] == (10, "committed")
    assert {event.reason for event in events[:-1]} == {"throttled"}
    assert (
        len(events) == 1 + 5
    )  # of the five requests of a save: manifest away, two parts, mark away, manifest
    assert Checkpoints(store).restore()[1] == parts_of(10)


def test_while_saving_fails_the_next_is_skipped_and_training_never_waits(
    store: ObjectStore,
) -> None:
    broken = threading.Event()
    broken.set()

    def while_broken(request: int, name: str) -> None:
        if broken.is_set():
            raise StorageError("access denied")

    with uploader(Breaking(store, while_broken), when_busy="wait") as saving:
        saving.save(facts(10), lambda: parts_of(10))
        saving.save(facts(20), lambda: parts_of(20))  # would wait for ever
        events = saving.events()
        assert (10, "failed") in outcomes(events)
        assert outcomes(events)[-1] == (20, "skipped")
        broken.clear()
        assert saving.finish(WAIT_SECONDS)
        assert outcomes(saving.events())[-1] == (10, "committed")
    assert steps_of(store) == [10]


def test_only_a_configured_age_of_failure_ends_the_run(store: ObjectStore) -> None:
    save(store, 10)
    with uploader(Breaking(store, for_good_from(3)), fail_after_seconds=0.3) as saving:
        saving.save(facts(20), lambda: parts_of(20))
        assert saving.finish(WAIT_SECONDS)
        with pytest.raises(
            SaveFailed,
            match=r"nothing was saved for .* expected a save within 0.3 s"
            r" \(checkpoints.fail_after_seconds\): .*gone",
        ):
            saving.events()
    assert steps_of(store) == [10]


def test_the_age_of_a_failure_begins_with_the_save(store: ObjectStore) -> None:
    """However long ago the last one was: one hiccup is not an outage."""
    now, hiccups = [0.0], iter([Interrupted("slow down", "throttled")])

    def once(request: int, name: str) -> None:
        if name == "write" and (error := next(hiccups, None)):
            raise error

    with Uploader(
        Checkpoints(Breaking(store, once)),
        CheckpointSpec(fail_after_seconds=60),
        clock=lambda: now[0],
    ) as saving:
        now[0] = 4000.0
        saving.save(facts(10), lambda: parts_of(10))
        assert saving.finish(WAIT_SECONDS)
        assert outcomes(saving.events()) == [(10, "failed"), (10, "committed")]


def test_a_write_that_was_held_up_finds_the_run_folder_taken(store: ObjectStore) -> None:
    """During an outage another job commits the same step; then the first job's request arrives."""
    taken: list[bool] = []

    def check_owner() -> None:
        if taken:
            raise LeaseLost("another job trains here")

    def away(request: int, name: str) -> None:
        if name == "write" and not taken:
            save(store, 20)
            taken.append(True)
            raise Interrupted("unreachable", "connection")

    with uploader(Breaking(store, away), check_owner) as saving:
        saving.save(
            facts(20),
            lambda: {"generator.npz": b"other bytes", "discriminator.npz": b"other bytes"},
        )
        assert saving.finish(WAIT_SECONDS)
        with pytest.raises(LeaseLost):
            saving.events()
    assert Checkpoints(store).restore()[1] == parts_of(20)


def test_a_step_just_saved_is_kept_behind_a_newer_one(store: ObjectStore) -> None:
    save(store, 10, 20)
    with uploader(store, keep=1) as saving:
        saving.save(facts(15), lambda: parts_of(15))
        assert saving.finish(WAIT_SECONDS)
    assert steps_of(store) == [20, 15]


def test_closing_gives_up_what_cannot_be_saved(store: ObjectStore) -> None:
    save(store, 10)
    with uploader(Breaking(store, for_good_from(4))) as saving:
        saving.save(facts(20), lambda: parts_of(20))
        assert not saving.finish(0.3)
    assert steps_of(store) == [10]


def test_a_job_that_lost_the_run_folder_commits_nothing(store: ObjectStore) -> None:
    def lost() -> None:
        raise LeaseLost("another job trains here")

    save(store, 20)
    with uploader(store, lost) as saving:
        saving.save(facts(20), lambda: {"generator.npz": b"other"})
        assert saving.finish(WAIT_SECONDS)
        with pytest.raises(LeaseLost, match="another job trains here"):
            saving.events()
    assert Checkpoints(store).restore()[1] == parts_of(20)


def test_weights_that_are_not_finite_are_reported_and_not_saved(store: ObjectStore) -> None:
    def parts() -> dict[str, bytes]:
        raise DivergedError("a weight is not finite")

    with uploader(store) as saving:
        saving.save(facts(10), parts)
        assert saving.finish(WAIT_SECONDS)
        with pytest.raises(DivergedError):
            saving.events()
    assert steps_of(store) == []


@pytest.mark.slow
def test_a_save_cut_off_after_any_request_leaves_the_checkpoint_before(
    any_store: ObjectStore,
) -> None:
    """A save and its pruning of one of two old checkpoints; each request is the last that works."""
    settings = {"fail_after_seconds": 1e-9, "keep": 1}
    counted = Breaking(any_store, lambda request, name: None)
    save(any_store, 10, 20)
    with uploader(counted, **settings) as saving:
        saving.save(facts(30), lambda: parts_of(30))
        assert saving.finish(WAIT_SECONDS)
        assert outcomes(saving.events()) == [(30, "committed")]
    assert counted.requests > 10
    seen = set()
    for number in range(1, counted.requests + 1):
        for entry in list(any_store.list()):
            any_store.delete(entry.key)
        save(any_store, 10, 20)
        with uploader(Breaking(any_store, for_good_from(number)), **settings) as saving:
            saving.save(facts(30), lambda: parts_of(30))
            assert saving.finish(WAIT_SECONDS)
        manifest, parts = Checkpoints(any_store).restore()
        seen.add(manifest.step)
        assert manifest.step in (20, 30)
        assert parts == parts_of(manifest.step)
        # And the next save, with a store that works, leaves nothing behind.
        with uploader(any_store, **settings) as saving:
            saving.save(facts(40), lambda: parts_of(40))
            assert saving.finish(WAIT_SECONDS)
        assert {entry.key for entry in any_store.list()} == {
            f"checkpoints/step-000000040/{name}" for name in (*PARTS, "manifest.json")
        }
    assert seen == {20, 30}
