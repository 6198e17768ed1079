"""The order of the checks, what depends on what, and the exit code."""

from pathlib import Path

import pytest

from job.config.errors import ConfigError
from job.config.spec import RunSpec
from job.doctor.check import Check
from job.doctor.diagnosis import diagnose, exit_code
from tests.training.planned import commit_step_50, pack_512, spec_of


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in a cluster that is started later: the checks load neither TensorFlow nor Ray."""
    monkeypatch.setenv("RAY_ADDRESS", "release.invalid:6379")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_512(tmp_path_factory.mktemp("packed"))


def checks_of(spec: RunSpec | None, *, workers: bool = False) -> list[Check]:
    load = (lambda: spec) if spec else None
    return list(diagnose(load, workers=workers, note=print))


def test_a_run_that_would_start(packed: Path, tmp_path: Path) -> None:
    found = checks_of(spec_of(packed, tmp_path / "run"))
    assert [each for each in found if each.state == "error"] == []
    names = [each.name for each in found]
    assert names.index("configuration") < names.index("run folder list") < names.index("run")
    assert names[-1] == "time"
    assert exit_code(found) == 0


def test_a_machine_alone() -> None:
    assert [each.name for each in checks_of(None)][-1] == "temporary disk"


def test_a_wrong_configuration_ends_the_checks() -> None:
    def load() -> RunSpec:
        raise ConfigError("workers.count is x; expected a number")

    found = list(diagnose(load, workers=True, note=print))
    assert found[-1] == Check(
        "configuration", "error", "workers.count is x", "expected a number", 2
    )
    assert exit_code(found) == 2


def test_a_run_is_not_checked_without_its_stores(tmp_path: Path) -> None:
    found = checks_of(spec_of(tmp_path / "none", tmp_path / "run"))
    assert found[-1].found == "not checked: the stores cannot be used"
    assert exit_code(found) == 5


def test_a_checkpoint_of_another_model(packed: Path, tmp_path: Path) -> None:
    commit_step_50(spec_of(packed, tmp_path / "run"))
    other = spec_of(packed, tmp_path / "run", "model.generator.latent_size=8")
    found = checks_of(other)
    assert (found[-1].name, found[-1].state) == ("run", "error")
    assert "generator.latent_size is 16" in found[-1].found
    assert checks_of(spec_of(packed, tmp_path / "run"))[-1].name == "time"


def test_workers_need_a_cluster(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    found = checks_of(spec_of(packed, tmp_path / "run"), workers=True)
    assert found[-1].found == "not checked: there is no cluster for them"
    assert exit_code(found) == 2


def test_the_first_error_gives_the_exit_code() -> None:
    checks = [
        Check("a", "warning", "", "", 0),
        Check("b", "error", "", "", 3),
        Check("c", "error", "", "", 2),
    ]
    assert exit_code(checks) == 3
