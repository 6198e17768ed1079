"""The machine of a run: the room for its workers, and the host of its metrics."""

import pytest

from job import LIBRARY_ENV
from job.config.load import load_run
from job.launch import machine


@pytest.mark.parametrize(
    ("address", "is_local"),
    [("", True), (" ", True), ("local", True), ("auto", False), ("127.0.0.1:6379", False)],
)
def test_a_new_local_cluster_unless_another_is_named(
    address: str, is_local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``local`` is Ray's name for a new one, which has to be closed to others as well."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert machine.is_local() == is_local


def test_metrics_of_a_local_cluster_are_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, chosen = (
        load_run("notebook", overrides=["uri=a", "data.uri=b", *host])
        for host in ([], ["metrics.host=0.0.0.0"])
    )
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert machine.with_metrics_host(spec).metrics.host == "127.0.0.1"
    assert machine.with_metrics_host(chosen) == chosen
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert machine.with_metrics_host(spec) == spec


@pytest.mark.parametrize(
    ("nodes", "bundle", "room"),
    [
        ([{"CPU": 4.0}], {"CPU": 1.0, "GPU": 0.0}, 4),
        # A worker never spans two nodes.
        ([{"CPU": 3.0}, {"CPU": 3.0}], {"CPU": 2.0, "GPU": 0.0}, 2),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}], {"CPU": 1.0, "GPU": 1.0}, 2),
        ([{"CPU": 1.0}], {"CPU": 0.1, "GPU": 0.0}, 10),
        ([], {"CPU": 1.0, "GPU": 0.0}, 0),
    ],
)
def test_workers_are_counted_node_by_node(
    nodes: list[dict[str, float]], bundle: dict[str, float], room: int
) -> None:
    assert machine.num_bundles(nodes, bundle) == room


def test_workers_have_the_settings_of_the_libraries() -> None:
    assert LIBRARY_ENV.items() <= machine.WORKER_ENV.items()
    assert "TF_CPU_ALLOCATOR_USE_BFC" in machine.WORKER_ENV
