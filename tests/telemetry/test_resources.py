"""Free memory and disk, within the limits of a container."""

import shutil
from pathlib import Path

import psutil
import pytest

from job.telemetry.resources import available_memory, free_disk, shared_memory

LIMIT, USED, CACHE = 100 * 2**20, 30 * 2**20, 5 * 2**20


@pytest.mark.parametrize(
    "names",
    [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ],
)
def test_a_container_has_less_memory_than_its_machine(
    names: tuple[str, str, str, str], tmp_path: Path
) -> None:
    (tmp_path / "memory").mkdir()
    limit, usage, statistics, cache = names
    (tmp_path / limit).write_text(f"{LIMIT}\n")
    (tmp_path / usage).write_text(f"{USED}\n")
    (tmp_path / statistics).write_text(f"anon 7\n{cache} {CACHE}\n")
    assert available_memory(tmp_path) == LIMIT - USED + CACHE
    (tmp_path / limit).write_text(f"{USED // 2}\n")
    assert available_memory(tmp_path) == 0


def test_a_container_without_a_limit_has_the_memory_of_its_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    total = psutil.virtual_memory().total
    assert 0 < available_memory(tmp_path) < total


def test_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
    here = shutil.disk_usage(tmp_path).free
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(here, rel=0.1)


def test_shared_memory(tmp_path: Path) -> None:
    assert shared_memory(tmp_path) == shutil.disk_usage(tmp_path).total
    assert shared_memory(tmp_path / "none") is None
