"""Runs are compared by what their folders have; scores only if they are of the same basis."""

import dataclasses
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.quality.evaluation import to_json
from job.report.comparison import MAX_CONFIGURATION_BYTES, Comparison, compare_runs
from job.run.layout import CONFIGURATION, EVALUATION
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.report.runs import SCORED_BY, configuration, done_run, scored_run
from tests.report.test_evaluated import FOUND


def stores(folder: Path, *names: str) -> list[ObjectStore]:
    return [open_store(str(folder / name)) for name in names]


def compared(folder: Path, *distances: float, **scored_by: str) -> Comparison:
    """Compare a run with another one that has these distances and this basis."""
    first, second = stores(folder, "first", "second")
    scored_run(first, {500: 30.0, 1000: 20.0, 1500: 25.0})
    by_step = dict(zip(range(500, 3000, 500), distances, strict=False))
    scored_run(second, by_step, SCORED_BY | scored_by, **{"training.global_batch_size": "64"})
    return compare_runs([first, second])


@pytest.mark.slow
def test_progress_distances_and_settings_are_side_by_side(tmp_path: Path) -> None:
    found = compared(tmp_path, 40.0, 10.0)
    first, second = found.runs
    assert (first.label, second.label) == ("1 first", "2 second")
    assert (first.preset, first.state, first.step, first.images_seen) == (
        "fashion",
        "done",
        1500,
        1500 * 32,
    )
    assert (second.step, second.images_seen) == (1000, 1000 * 64)
    assert (first.best_frechet_distance, first.best_step, first.last_frechet_distance) == (
        20.0,
        1000,
        25.0,
    )
    assert (second.best_frechet_distance, second.last_frechet_distance) == (10.0, 10.0)
    assert found.differences == {"training.global_batch_size": [32, 64]}
    assert found.why_not_comparable == ""


@pytest.mark.slow
def test_distances_of_another_basis_are_not_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, 40.0, features_fingerprint="c" * 64)
    assert found.why_not_comparable.startswith(
        "1 first has features_fingerprint aaaaaaaaaaaaaaaa, 2 second has cccccccccccccccc;"
    )


@pytest.mark.slow
@pytest.mark.parametrize("num_real", ["", "many", "0", "-3", "9" * 5000])
def test_distances_of_an_unknown_basis_are_not_compared(tmp_path: Path, num_real: str) -> None:
    found = compared(tmp_path, 40.0, num_real=num_real)
    assert found.why_not_comparable == (
        "2 second does not say which features and images its scores are of"
    )


def test_a_run_without_scores_is_compared_by_the_rest(tmp_path: Path) -> None:
    first, second = stores(tmp_path, "first", "second")
    scored_run(first, {500: 30.0})
    done_run(second)
    found = compare_runs([first, second])
    assert found.why_not_comparable == ""
    assert [run.best_frechet_distance for run in found.runs] == [30.0, None]
    assert [run.last_frechet_distance for run in found.runs] == [30.0, None]


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_without_a_run_is_named(tmp_path: Path, name: str) -> None:
    first, second = stores(tmp_path, "first", name)
    done_run(first)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match=f"{name}: no run there; expected a run folder"):
        compare_runs([first, second])


@pytest.mark.parametrize("data", [None, b"\xff", b"a: &a 1\nb: *a", b"- 1"])
def test_a_configuration_that_cannot_be_read_is_unknown(tmp_path: Path, data: bytes | None) -> None:
    first, second = stores(tmp_path, "first", "second")
    for each in (first, second):
        done_run(each)
    second.delete(CONFIGURATION) if data is None else second.write(CONFIGURATION, data)
    found = compare_runs([first, second])
    assert found.runs[1].configuration == {}
    assert (found.runs[1].step, found.runs[1].images_seen) == (6000, None)
    assert found.differences == {}


def test_a_key_that_an_earlier_version_lacked_has_its_default(tmp_path: Path) -> None:
    first, second = stores(tmp_path, "first", "second")
    for each in (first, second):
        done_run(each)
    first.write(CONFIGURATION, configuration(seed="1"))
    second.write(CONFIGURATION, b"preset: fashion\nremoved: 3\n" + configuration(seed="1"))
    assert compare_runs([first, second]).differences == {}, "a key that is there twice: no YAML"
    second.write(CONFIGURATION, b"removed: 3\n" + configuration(seed="1"))
    first.write(CONFIGURATION, configuration(seed="1").replace(b"seed: 1\n", b""))
    assert compare_runs([first, second]).differences == {"seed": [0, 1], "removed": [None, 3]}


def test_evaluations_of_another_basis_are_not_compared(tmp_path: Path) -> None:
    first, second = stores(tmp_path, "first", "second")
    other = dataclasses.replace(FOUND, basis=dataclasses.replace(FOUND.basis, num_real=7))
    for store, evaluation in ((first, FOUND), (second, other)):
        done_run(store)
        store.write(EVALUATION, to_json(evaluation).encode())
    found = compare_runs([first, second])
    assert found.runs[1].evaluation == other
    assert "1 first has num_real 12000, 2 second has 7" in found.why_evaluations_are_not
    second.write(EVALUATION, to_json(FOUND).encode())
    assert compare_runs([first, second]).why_evaluations_are_not == ""


def test_a_configuration_that_is_too_long_is_not_read_in_part(tmp_path: Path) -> None:
    for store, workers in zip(stores(tmp_path, "first", "second"), (2, 9), strict=True):
        done_run(store)
        comment = "#" * MAX_CONFIGURATION_BYTES
        store.write(CONFIGURATION, f"seed: 0\n{comment}\nworkers: {{count: {workers}}}".encode())
    found = compare_runs(stores(tmp_path, "first", "second"))
    assert [run.configuration for run in found.runs] == [{}, {}]
