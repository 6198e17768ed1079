"""Usable cores: those that the scheduler allows, within the CPU limit of a container."""

from pathlib import Path

import pytest

from job.config.host import boot_number, usable_cores
from job.launch.machine import local_cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "9900000 100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.max": ""}, 64),
    ],
)
def test_a_container_has_fewer_cores_than_its_machine(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == cores


def test_a_local_cluster_has_the_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray starts a process for each: on 64 cores that takes minutes and gigabytes."""
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3})
    assert local_cores() == 4


def test_a_boot_has_one_number(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("11111111-2222-3333-4444-555555555555\n")
    second.write_text("66666666-2222-3333-4444-555555555555\n")
    assert boot_number(first) == boot_number(first) != boot_number(second)
    assert 0 <= boot_number(tmp_path / "absent") < 2**48
