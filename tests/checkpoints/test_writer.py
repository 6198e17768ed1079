"""Claims of the run folder: the latest start of the workers writes the checkpoints."""

import pytest

from job.checkpoints import writer
from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.writer import Superseded, claim
from job.run.lease import LeaseLost
from job.storage.retry import retry
from job.storage.store import ObjectStore
from tests.checkpoints.saves import Breaking, LosingAnswers, facts, parts_of, steps_of

pytestmark = pytest.mark.timeout(60)
FIRST, SECOND, NEXT_PROGRAM = "20260102T030405Z-000", "20260102T030405Z-001", "20260102T030406Z-000"


def test_an_earlier_start_of_the_workers_writes_no_more(store: ObjectStore) -> None:
    first = claim(store, FIRST)
    first()
    second = claim(store, SECOND)
    with pytest.raises(Superseded, match="a later start of the workers writes the checkpoints"):
        first()
    second()
    store.write(writer.KEY, b"\xff{")
    with pytest.raises(Superseded):
        second()
    store.delete(writer.KEY)
    second()


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize(
    ("live", "late"),
    [(SECOND, FIRST), (NEXT_PROGRAM, SECOND), (f"{FIRST[:-3]}1000", f"{FIRST[:-3]}999")],
)
def test_a_late_claim_of_earlier_workers_does_not_win(
    store: ObjectStore, live: str, late: str, conditional: bool
) -> None:
    """After the live claim that of a chief that was cut off arrives. The live one still saves."""
    check_live = claim(store, live, conditional=conditional)
    with pytest.raises(Superseded, match=f"expected {late} to be the latest"):
        claim(store, late, conditional=conditional)
    Checkpoints(store).save(facts(10), parts_of(10), check_owner=check_live)
    assert steps_of(store) == [10]


def test_a_claim_that_is_overtaken_between_reading_and_writing_does_not_win(
    any_store: ObjectStore,
) -> None:
    checks = []

    def overtaken(request: int, name: str) -> None:
        if name == "write_if" and not checks:
            checks.append(claim(any_store, SECOND))

    with pytest.raises(Superseded):
        claim(Breaking(any_store, overtaken), FIRST)
    checks[0]()


def test_only_the_owner_of_the_run_folder_claims(store: ObjectStore) -> None:
    """Also if the lease is lost during the claim: the next job's claim is not replaced."""
    lost: list[bool] = []

    def check_owner() -> None:
        if lost:
            raise LeaseLost("another job trains here")

    def away(request: int, name: str) -> None:
        if name == "write_if" and not lost:
            lost.append(True)
            claim(store, FIRST)

    with pytest.raises(LeaseLost):
        claim(Breaking(store, away), NEXT_PROGRAM, check_owner)
    assert b"20260102T030405Z-000" in store.read(writer.KEY)


def test_a_claim_whose_answer_is_lost_is_repeated(store: ObjectStore) -> None:
    losing = LosingAnswers(store, "write_if")
    check = retry(lambda: claim(losing, FIRST), 60.0, sleep=lambda seconds: None)
    assert losing.num_lost == 1
    check()
    again = claim(store, FIRST)  # after a rollback
    again()
    with pytest.raises(Superseded):
        check()


def test_the_claim_of_an_earlier_version_is_replaced(store: ObjectStore) -> None:
    """That version named itself at random; its run folders are resumed."""
    store.write(writer.KEY, b'{"start": "5a1f0c3e9b7d42868f5d0a4be1c7c9d2"}')
    check = claim(store, FIRST)
    check()
    store.write(
        writer.KEY, b'{"start": "5a1f0c3e9b7d42868f5d0a4be1c7c9d2"}'
    )  # a chief of that version, cut off till now
    with pytest.raises(Superseded):
        check()
