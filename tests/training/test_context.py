"""A worker's order of samples and its patience with stores; ``test_worker`` opens a context."""

from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.storage import retry
from job.storage.store import Interrupted
from job.storage.uri import open_store
from tests.checkpoints.saves import Breaking
from tests.training.alone import Recorder, alone, spec_of

pytestmark = pytest.mark.training


def test_the_order_is_one_object_of_shards_batch_and_seed(tmp_path: Path) -> None:
    """Its caches compare it by identity."""
    context = alone(spec_of(tmp_path, seed=3), Recorder())
    order = context.order
    assert (order.shard_rows, order.global_batch_size, order.seed) == ((16, 16, 8), 8, 3)
    assert context.order is order


def test_a_store_operation_is_retried_as_long_as_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_SECONDS", 0.001)
    context = alone(spec_of(tmp_path, data__fetch_patience_seconds=0.2), Recorder())

    def fail_twice(request: int, name: str) -> None:
        if request <= 2:
            raise Interrupted("slow down", "throttled")

    def fail(request: int, name: str) -> None:
        raise Interrupted("slow down", "throttled")

    store = open_store(str(tmp_path))
    store.write("key", b"data")
    busy, gone = Breaking(store, fail_twice), Breaking(store, fail)
    assert context.retry(lambda: busy.read("key")) == b"data"
    with pytest.raises(StorageError, match="slow down"):
        context.retry(lambda: gone.read("key"))
    assert gone.requests > 2
