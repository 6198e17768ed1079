"""Checks before a run starts: its length, the checkpoint to resume from, its record."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from job.checkpoints.best import Best
from job.checkpoints.checkpoints import Checkpoints
from job.config.errors import ConfigError
from job.config.load import to_dict
from job.config.spec import RunSpec
from job.run.layout import CONFIGURATION
from job.run.lease import LeaseHeld
from job.run.summary import Summary, write_summary
from job.storage.uri import open_store
from job.training import preflight
from job.training.identity import settings_of
from tests.training.planned import commit_step_50, pack_512, spec_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("data"))


def test_few_images_train_longer_than_the_epochs(data: Path, tmp_path: Path) -> None:
    assert preflight.check(spec_of(data, tmp_path / "run")).schedule.total_steps == 5000
    ten_epochs = spec_of(data, tmp_path / "run", "training.epochs=10")
    assert preflight.check(ten_epochs).schedule.total_steps == 320


def test_a_tracking_service_without_an_address_or_library_is_refused_first(tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "missing", tmp_path / "run", "tracking.service=mlflow")
    with pytest.raises(ConfigError, match=r"tracking\.service is mlflow, and "):
        preflight.check(spec)


@pytest.mark.parametrize(
    ("kept", "settings", "total_steps"),
    [
        ({}, (), 320),  # by a version without training.min_steps
        ({"training.min_steps": 700}, (), 700),
        ({}, ("training.min_steps=900",), 900),
        ({"training.min_steps": "many"}, (), 320),
        ({"training.min_steps": 5000}, ("training.epochs=3",), 96),
    ],
)
def test_a_run_folder_keeps_the_length_it_began_with(
    kept: dict[str, object],
    settings: tuple[str, ...],
    total_steps: int,
    data: Path,
    tmp_path: Path,
) -> None:
    spec = spec_of(data, tmp_path / "run", *settings)
    commit_step_50(
        spec,
        {key: value for key, value in settings_of(spec).items() if key != "training.min_steps"}
        | kept,
    )
    assert preflight.check(spec).schedule.total_steps == total_steps


def test_a_run_that_never_resumes_is_refused_in_a_folder_with_checkpoints(
    data: Path, tmp_path: Path
) -> None:
    spec = spec_of(data, tmp_path / "run", "checkpoints.resume=never")
    assert preflight.check(spec).resumed is None
    commit_step_50(spec, settings_of(spec))
    with pytest.raises(ConfigError, match=r"holds checkpoints, the newest of step 50, and"):
        preflight.check(spec)


def test_changed_settings_are_those_since_the_newest_checkpoint(data: Path, tmp_path: Path) -> None:
    before = spec_of(data, tmp_path / "run", "training.steps=100")
    checked = preflight.check(before)
    assert checked.changes == {}
    commit_step_50(before, settings_of(checked.spec))
    now = spec_of(data, tmp_path / "run", "training.steps=200")
    assert preflight.check(now).changes == {"training.steps": (100, 200)}


def test_the_record_has_the_resolved_configuration_and_the_facts(
    data: Path, tmp_path: Path
) -> None:
    checked = preflight.check(spec_of(data, tmp_path / "run", "training.steps=100"))
    attempt = preflight.record(checked)
    text = (tmp_path / "run" / CONFIGURATION).read_text()
    assert f"# data fingerprint: {checked.index.fingerprint}\n" in text
    written = yaml.safe_load(text)
    assert written["training"]["steps"] == to_dict(checked.spec)["training"]["steps"] == 100
    facts = json.loads((tmp_path / "run" / "starts" / f"{attempt.stamp}.json").read_text())
    assert (facts["step"], facts["target_steps"], facts["data"]["num_images"]) == (0, 100, 512)


def test_the_lease_keeps_a_second_job_out(data: Path, tmp_path: Path) -> None:
    checked = preflight.check(
        spec_of(
            data,
            tmp_path / "run",
            "checkpoints.lease_seconds=1",
            "checkpoints.lease_wait_seconds=0",
        )
    )
    with preflight.leased(checked, print) as lease:
        assert lease is not None
        with pytest.raises(LeaseHeld), preflight.leased(checked, print):
            pass
    with preflight.leased(checked, print):
        pass


def test_without_a_lease_the_run_folder_is_not_written(data: Path, tmp_path: Path) -> None:
    checked = preflight.check(spec_of(data, tmp_path / "run", "checkpoints.lease_seconds=0"))
    with preflight.leased(checked, print) as lease:
        assert lease is None
    assert not (tmp_path / "run").exists()


def test_paths_are_absolute_because_workers_run_in_other_folders(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = preflight.with_absolute_paths(
        spec_of(data, Path("run"), "data.cache_dir=cache", "checkpoints.resume=other")
    )
    found = [spec.uri, spec.data.cache_dir, spec.checkpoints.resume]
    assert found == [str(tmp_path / name) for name in ("run", "cache", "other")]
    on_s3 = spec.replace(uri="s3://bucket/run")
    assert preflight.with_absolute_paths(on_s3).uri == "s3://bucket/run"


def test_a_damaged_newest_checkpoint_is_not_the_one_to_resume_from(
    data: Path, tmp_path: Path
) -> None:
    spec: RunSpec = spec_of(data, tmp_path / "run", "training.steps=100")
    commit_step_50(spec, settings_of(spec))
    checkpoints = Checkpoints(open_store(spec.uri))
    (newest,) = checkpoints.committed()
    checkpoints.save(
        dataclasses.replace(newest, step=60, images_seen=960), {"generator.npz": b"weights"}
    )
    assert preflight.check(spec).resumed.step == 60
    (tmp_path / "run" / "checkpoints" / "step-000000060" / "generator.npz").write_bytes(b"w")
    assert preflight.check(spec).resumed.step == 50


def test_scores_need_a_classifier_or_other_features(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert preflight.check(spec_of(data, run)).spec.quality.features == "none"
    with pytest.raises(ConfigError, match=r"features is classifier, and .* has none; run `dcgan-"):
        preflight.check(spec_of(data, run, "quality.features=classifier"))
    kept = preflight.check(spec_of(data, run, "quality.features=file:some.keras")).spec
    assert kept.quality.features == f"file:{Path.cwd() / 'some.keras'}"  # workers are elsewhere


def test_a_classifier_beside_the_data_turns_scores_on(tmp_path: Path) -> None:
    data = pack_512(tmp_path)
    (data / "quality").mkdir()
    (data / "quality" / "classifier.json").write_text("{}")
    assert preflight.check(spec_of(data, tmp_path / "run")).spec.quality.features == "classifier"
    spec = spec_of(data, tmp_path / "run", "quality.features=none")
    assert preflight.check(spec).spec.quality.features == "none"


@pytest.mark.parametrize("setting", ["stop_after_steps=100", "rollback_ratio=2"])
def test_a_key_that_needs_scores_is_refused_without_them(
    data: Path, tmp_path: Path, setting: str
) -> None:
    spec = spec_of(data, tmp_path / "run", f"quality.{setting}")
    with pytest.raises(ConfigError, match="and the run has no scores; run `dcgan-train quality"):
        preflight.check(spec)
    unscored = spec.replace(quality=spec.quality.replace(features="none"))
    with pytest.raises(ConfigError, match=f"quality.{setting.partition('=')[0]} is "):
        preflight.check(unscored)


def test_a_run_that_ended_early_is_finished(data: Path, tmp_path: Path) -> None:
    settings = ("quality.stop_after_steps=30", "quality.features=file:some.keras")
    spec = spec_of(data, tmp_path / "run", "training.steps=100", *settings)
    commit_step_50(spec, settings_of(spec), Best(9.5, 20).to_metrics())
    write_summary(open_store(spec.uri), Summary("done", 50, 0, None, 1.0, 2, 0, {}))
    assert preflight.check(spec).is_finished
    longer = spec_of(data, tmp_path / "run", "training.steps=100", settings[1])
    assert not preflight.check(longer).is_finished
