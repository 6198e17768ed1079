"""The mailbox between driver and workers, without Ray around it; ``test_life`` has it in Ray."""

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from job.config.errors import DataError, DcganError
from tests.telemetry.step_reports import report

if TYPE_CHECKING:
    from job.launch.mailbox import Mailbox

pytestmark = pytest.mark.slow  # imports Ray


@pytest.fixture
def mailbox() -> "Mailbox":
    from job.launch.mailbox import Mailbox

    return Mailbox()


def test_notes_are_read_once_and_the_report_is_the_latest(mailbox: "Mailbox") -> None:
    assert mailbox.read() == (None, [], None)
    for step in (10, 20):
        mailbox.post_report(report(step=step))
        mailbox.post_note(f"step {step}")
    messages = mailbox.read()
    assert messages.report == report(step=20)
    assert messages.notes == ["step 10", "step 20"]
    again = mailbox.read()
    assert (again.report, again.notes) == (report(step=20), [])


def test_the_first_error_counts(mailbox: "Mailbox") -> None:
    """Others follow from it."""
    first = DataError("shard-00001.u8: has SHA-256 ab")
    mailbox.post_error(first)
    mailbox.post_error(DcganError("a peer is gone"))
    assert mailbox.read().error is first
    assert mailbox.read().error is first


def test_restarts_are_those_of_the_rank_that_was_started_most(mailbox: "Mailbox") -> None:
    assert mailbox.num_restarts() == 0
    assert [mailbox.register_worker(rank) for rank in (0, 1, 0, 1, 0)] == [0, 0, 1, 1, 2]
    assert mailbox.num_restarts() == 2


def test_placement_groups_are_taken_once(mailbox: "Mailbox") -> None:
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup

    group = PlacementGroup(PlacementGroupID.from_random())
    mailbox.register_worker(0, group)
    mailbox.register_worker(1, group)
    mailbox.register_worker(2)
    assert mailbox.take_placement_groups() == [group]
    assert mailbox.take_placement_groups() == []


def test_a_stop_is_requested_once_for_all(mailbox: "Mailbox") -> None:
    assert not mailbox.is_stop_requested()
    mailbox.request_stop()
    assert mailbox.is_stop_requested()
    assert mailbox.is_stop_requested()


def test_a_workers_warning_is_posted_without_its_secrets(mailbox: "Mailbox") -> None:
    from job.launch.mailbox import MailboxHandler

    # A call of an actor's method has one more name in Ray: ``post_note.remote(text)``.
    actor = SimpleNamespace(post_note=SimpleNamespace(remote=mailbox.post_note))
    record = logging.LogRecord(
        "dcgan.tracking", logging.WARNING, "", 0, "request to %s", ("http://joe:s3cret@h/a",), None
    )
    MailboxHandler(actor, 3).emit(record)
    assert mailbox.read().notes == ["worker 3: warning: request to http://joe:***@h/a"]
