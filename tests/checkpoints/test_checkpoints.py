"""The checkpoint protocol on a folder: what is committed, what is restored, and what is refused."""

import pytest

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.retention import prune
from job.config.errors import StorageError
from job.config.spec import CheckpointSpec
from job.storage.store import ObjectStore
from tests.checkpoints.saves import PARTS, counting, facts, save


@pytest.fixture
def saved(store: ObjectStore) -> Checkpoints:
    """Steps 10, 20 and 30, each with its own parts."""
    checkpoints = Checkpoints(store)
    for step in (10, 20, 30):
        checkpoints.save(
            facts(step), {name: data + str(step).encode() for name, data in PARTS.items()}
        )
    return checkpoints


def steps(checkpoints: Checkpoints) -> list[int]:
    return [manifest.step for manifest in checkpoints.committed()]


def test_the_newest_checkpoint_comes_back_whole(saved: Checkpoints) -> None:
    manifest, parts = saved.restore() or pytest.fail("nothing restored")
    assert (manifest.step, manifest.images_seen, steps(saved)) == (30, 240, [30, 20, 10])
    assert parts == {"generator.npz": b"generator30", "discriminator.npz": b"discriminator30"}


def test_an_empty_run_folder_restores_nothing(store: ObjectStore) -> None:
    assert Checkpoints(store).restore() is None


def test_one_step_and_one_part_can_be_asked_for(saved: Checkpoints) -> None:
    manifest, parts = saved.restore(20, lambda manifest: ["generator.npz"]) or pytest.fail(
        "nothing restored"
    )
    assert (manifest.step, parts) == (20, {"generator.npz": b"generator20"})
    assert saved.restore(25) is None


@pytest.mark.parametrize("part", sorted(PARTS))
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "swapped"])
def test_a_damaged_part_falls_back_to_the_checkpoint_before(
    saved: Checkpoints, store: ObjectStore, part: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"checkpoints/step-000000030/{part}"
    data = store.read(key)
    if damage == "missing":
        store.delete(key)
    else:
        store.write(
            key,
            {
                "flipped": bytes([data[0] ^ 1]) + data[1:],
                "truncated": data[:-1],
                "swapped": store.read(key.replace("30/", "20/")),
            }[damage],
        )
    assert (saved.restore() or pytest.fail("nothing restored"))[0].step == 20
    assert f"step-000000030/{part}" in caplog.text


def test_damage_everywhere_stops_instead_of_starting_over(
    saved: Checkpoints, store: ObjectStore
) -> None:
    for step in (10, 20, 30):
        store.delete(f"checkpoints/step-{step:09d}/generator.npz")
    with pytest.raises(
        StorageError, match=r"3 checkpoints, none of them whole .*missing; expected 11 bytes"
    ):
        saved.restore()


def test_parts_without_a_manifest_are_not_a_checkpoint(
    saved: Checkpoints, store: ObjectStore
) -> None:
    store.write("checkpoints/step-000000040/generator.npz", b"cut short")
    assert steps(saved) == [30, 20, 10]


class Recording:
    """A store that notes the order of writes and deletes; everything else is the store's own."""

    def __init__(self, store: ObjectStore):
        self._store, self.log = store, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def write(self, key: str, data: bytes) -> None:
        self.log.append(("write", key.rpartition("/")[2]))
        self._store.write(key, data)

    def delete(self, key: str) -> None:
        self.log.append(("delete", key.rpartition("/")[2]))
        self._store.delete(key)


def test_the_manifest_is_written_last_and_deleted_first(store: ObjectStore) -> None:
    recording = Recording(store)
    checkpoints = Checkpoints(recording)
    checkpoints.save(facts(10), PARTS)
    assert recording.log[0] == ("delete", "manifest.json")
    assert recording.log[-1] == ("write", "manifest.json")
    checkpoints.save(facts(20), PARTS)
    recording.log.clear()
    prune(checkpoints, CheckpointSpec(keep=1))
    assert recording.log[0] == ("delete", "manifest.json")
    assert steps(checkpoints) == [20]
    assert [entry.key for entry in store.list("checkpoints/step-000000010/")] == []


def test_a_manifest_in_anothers_folder_is_passed_over(
    saved: Checkpoints, store: ObjectStore
) -> None:
    store.write(
        "checkpoints/step-000000040/manifest.json",
        store.read("checkpoints/step-000000030/manifest.json"),
    )
    assert steps(saved) == [30, 20, 10]


def test_a_known_step_costs_the_same_however_many_there_are(store: ObjectStore) -> None:
    """One listing of its folder, its manifest, and size and content of each part."""
    save(store, *range(10, 410, 10))
    counted = counting(store)
    assert (Checkpoints(counted).restore(200) or pytest.fail("nothing restored"))[0].step == 200
    folder = "checkpoints/step-000000200/"
    parts = [(name, f"{folder}{part}") for part in PARTS for name in ("stat", "read")]
    assert counted.asked == [("list", folder), ("read_range", f"{folder}manifest.json"), *parts]


def test_the_newest_costs_one_listing_and_its_own_manifest(store: ObjectStore) -> None:
    save(store, *range(10, 410, 10))
    counted = counting(store)
    folder, manifest = next(Checkpoints(counted).readable())
    assert (folder.step, manifest.step) == (400, 400)
    assert counted.asked == [
        ("list", "checkpoints/"),
        ("read_range", "checkpoints/step-000000400/manifest.json"),
    ]


def test_a_pin_lists_its_own_folder(store: ObjectStore) -> None:
    save(store, 10, 20)
    counted = counting(store)
    Checkpoints(counted).pin(10)
    Checkpoints(counted).unpin(10)
    assert {key for name, key in counted.asked if name == "list"} == {"checkpoints/step-000000010/"}
