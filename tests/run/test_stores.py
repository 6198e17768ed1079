"""The stores of a run: what they reach, and how often each sends a failing request."""

from pathlib import Path

import pytest

from job.config.load import load_run
from job.run.stores import open_stores
from job.storage.store import Interrupted
from tests.servers.scripted_s3 import Answer, scripted_s3
from tests.storage.conftest import any_credentials

__all__ = ["any_credentials"]

pytestmark = pytest.mark.usefixtures("any_credentials")


def test_only_the_loop_gives_up_after_two_attempts(tmp_path: Path) -> None:
    with scripted_s3([Answer(503, b"")]) as server:
        keys = [
            "uri=s3://bucket/run",
            f"data.uri={tmp_path}",
            f"storage.endpoint_url={server.endpoint_url}",
            "storage.max_attempts=3",
        ]
        stores = open_stores(load_run("notebook", overrides=keys))
        assert stores.data.uri == f"file://{tmp_path}"
        assert not server.requests
        for store, num_attempts in ((stores.folder, 3), (stores.loop, 2)):
            server.requests.clear()
            with pytest.raises(Interrupted):
                store.read("run.yaml")
            assert [each.path for each in server.requests] == [
                "/bucket/run/run.yaml"
            ] * num_attempts
