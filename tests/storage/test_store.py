"""Errors of every store: they name the object, and keep their reason between processes."""

import pickle

import pytest

from job.config.errors import StorageError
from job.storage.store import REASONS, Interrupted, ObjectMissing, Reason


@pytest.mark.parametrize("reason", REASONS)
def test_an_interruption_keeps_its_reason_in_another_process(reason: Reason) -> None:
    error = pickle.loads(pickle.dumps(Interrupted("s3://b/a: busy", reason)))
    assert isinstance(error, Interrupted)
    assert (str(error), error.reason, error.exit_code) == (
        "s3://b/a: busy",
        reason,
        StorageError.exit_code,
    )


def test_a_missing_object_is_named_by_its_uri() -> None:
    error = ObjectMissing.at("s3://bucket/run", "run.yaml")
    assert str(error).startswith("s3://bucket/run/run.yaml: there is no such object")
    assert isinstance(error, StorageError)
