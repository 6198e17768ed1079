"""The checks of a run that is valid by its configuration and data."""

import os
import socket
from pathlib import Path

import pytest

from job.doctor.check import Check
from job.doctor.run import cache_check, memory_check, run_checks
from job.run.holder import new_holder
from job.run.layout import LEASE
from job.run.lease import acquire
from job.storage.uri import open_store
from job.training import preflight
from tests.training.planned import pack_512, spec_of


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("packed"))


def found(packed: Path, folder: Path, *settings: str) -> dict[str, Check]:
    spec = spec_of(packed, folder, "training.steps=100", *settings)
    return {each.name: each for each in run_checks(preflight.check(spec))}


@pytest.mark.slow
def test_a_run_on_this_machine(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    checks = found(packed, tmp_path / "run")
    assert list(checks) == ["run", "lease", "Ray", "memory of the run", "time"]
    assert checks["run"].found == "steps 0 to 100 of 16 images on 2 workers"
    assert checks["Ray"] == Check("Ray", "ok", "a private cluster on this machine for 2 workers")
    assert checks["time"].found.endswith("a probe of this machine")
    assert not (tmp_path / "run").exists()
    crowded = found(packed, tmp_path / "run", "workers.count=4")["Ray"]
    assert (crowded.state, "with 4 cores; 2 cores usable" in crowded.found) == ("warning", True)
    full = found(packed, tmp_path / "run", "workers.count=16")["Ray"]
    assert (full.state, full.exit_code) == ("error", 2)


@pytest.mark.slow
def test_a_taken_metrics_port(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        checks = found(packed, tmp_path / "run", f"metrics.port={port}", "workers.count=1")
    assert checks["Ray"].state == "error"
    assert f"metrics.port {port} is taken by" in checks["Ray"].found


@pytest.mark.parametrize(
    ("address", "state", "text"),
    [
        ("release.invalid:6379", "ok", "not checked: RAY_ADDRESS is release.invalid:6379"),
        ("ray://release.invalid:10001", "ok", "not checked: "),
        ("127.0.0.1:1", "error", "RAY_ADDRESS is 127.0.0.1:1: no Ray cluster responds"),
    ],
)
def test_a_cluster_elsewhere(
    address: str,
    state: str,
    text: str,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    checks = found(packed, tmp_path / "run")
    assert checks["Ray"].state == state
    assert checks["Ray"].found.startswith(text)
    memory = checks["memory of the run"].found
    assert memory.endswith(" of each worker; --workers checks theirs")
    assert "Ray" not in memory


def test_a_lease_that_another_job_holds(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "release.invalid:6379")
    store = open_store(str(tmp_path / "run"))
    with acquire(store, 30.0, note=lambda text: None):
        held = found(packed, tmp_path / "run")["lease"]
    assert held.state == "warning"
    assert held.found.startswith(f"held by process {os.getpid()} on ")
    assert found(packed, tmp_path / "run")["lease"].found == "free"
    dead = new_holder(30.0).to_json().replace(b'"pid": %d' % os.getpid(), b'"pid": 2147483647')
    store.write(LEASE, dead)
    assert found(packed, tmp_path / "run")["lease"].found.endswith(" has ended")
    store.write(LEASE, b"{}")
    bad = found(packed, tmp_path / "run")["lease"]
    assert (bad.state, bad.exit_code) == ("error", 3)


@pytest.mark.parametrize(
    ("data_bytes", "free", "state"),
    [(10**12, 20 * 10**9, "ok"), (10**12, 19 * 10**9, "warning"), (10**9, 2 * 10**9, "ok")],
)
def test_the_disk_of_the_cache_holds_its_budget_or_the_data(
    data_bytes: int, free: int, state: str, packed: Path, tmp_path: Path
) -> None:
    spec = spec_of(packed, tmp_path)
    assert cache_check("cache disk", spec, data_bytes, free).state == state


def test_memory_that_is_too_small() -> None:
    assert memory_check("memory", "1 worker", 10**9, 10**9).state == "ok"
    small = memory_check("memory", "1 worker", 3 * 10**9, 10**9)
    assert small[1:3] == ("warning", "1 worker; 1 GB available; expected 3 GB")
