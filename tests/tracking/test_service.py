"""A service whose library or address is missing is refused before a run starts."""

from pathlib import Path

import pytest

from job.config.errors import ConfigError
from job.config.tracking import TrackingSpec
from job.tracking.service import PACKAGES, check_tracking


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of the services' names that are only found, never loaded."""
    for name in PACKAGES:
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize("service", PACKAGES)
def test_a_missing_library_is_named_with_its_command(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [])
    spec = TrackingSpec.model_validate({"service": service, "uri": "http://127.0.0.1:5000"})
    package = PACKAGES[service]
    said = f"the package {package} is not installed; run `pip install {package}`"
    with pytest.raises(ConfigError, match=said) as caught:
        check_tracking(spec)
    assert caught.value.exit_code == 2


def test_a_folder_of_its_name_is_not_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B writes its files into ``./wandb``."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(ConfigError, match="the package wandb is not installed"):
        check_tracking(TrackingSpec(service="wandb"))


@pytest.mark.usefixtures("libraries")
def test_mlflow_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"neither tracking\.uri nor MLFLOW_TRACKING_URI is set"):
        check_tracking(TrackingSpec(service="mlflow"))
    check_tracking(TrackingSpec(service="mlflow", uri="http://127.0.0.1:5000"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    check_tracking(TrackingSpec(service="mlflow"))


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("service", ["none", "wandb", "trackio"])
def test_other_services_have_an_address_by_default(service: str) -> None:
    check_tracking(TrackingSpec.model_validate({"service": service}))
