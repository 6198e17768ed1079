"""The checkpoints that a URI names: those of a run folder, or one of them."""

from pathlib import Path

import pytest

from job.checkpoints.best import Best
from job.checkpoints.origin import best_uri, open_origin
from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.storage.uri import open_store
from tests.checkpoints.saves import facts, parts_of, save


@pytest.mark.parametrize(
    ("suffix", "step"),
    [
        ("", None),
        ("/", None),
        ("/checkpoints/step-000000020", 20),
        ("/checkpoints/step-20/", 20),
    ],
)
def test_a_run_folder_or_one_step_of_it(tmp_path: Path, suffix: str, step: int | None) -> None:
    uri = f"{tmp_path}/run"
    save(open_store(uri), 10, 20)
    origin = open_origin(uri + suffix, StorageSpec())
    assert origin.step == step
    assert [manifest.step for manifest in origin.checkpoints.committed()] == [20, 10]


@pytest.mark.parametrize("suffix", ["/checkpoints", "/checkpoints/step-\u0662", "/step-20"])
def test_another_folder_is_a_run_folder(tmp_path: Path, suffix: str) -> None:
    assert open_origin(f"{tmp_path}{suffix}", StorageSpec()).step is None


def test_a_wrong_uri_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown scheme"):
        open_origin("gs://bucket/run/checkpoints/step-000000020", StorageSpec())


def test_the_best_checkpoint_is_that_of_the_newest_manifest(tmp_path: Path) -> None:
    uri = f"{tmp_path}/run"
    checkpoints = save(open_store(uri), 10)
    with pytest.raises(StorageError, match="no checkpoint with a score; expected a run folder"):
        best_uri(uri, StorageSpec())
    checkpoints.save(facts(20, **Best(9.5, 10).to_metrics()), parts_of(20))
    assert best_uri(uri, StorageSpec()) == f"file://{uri}/checkpoints/step-000000010"
    checkpoints.save(facts(30, **Best(9.0, 25).to_metrics()), parts_of(30))
    with pytest.raises(StorageError, match="step-000000025: not found, or not readable"):
        best_uri(uri, StorageSpec())
