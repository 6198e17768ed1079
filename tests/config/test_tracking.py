"""The keys of experiment tracking: an address without secrets, and one of the services."""

import pytest

from job.config.errors import ConfigError
from job.config.load import load_run
from job.config.tracking import TrackingSpec

REQUIRED = ["uri=runs/one", "data.uri=packed"]


def test_nothing_is_tracked_by_default() -> None:
    spec = load_run("notebook", None, REQUIRED)
    assert spec.tracking == TrackingSpec()
    assert spec.tracking.service == "none"


def test_an_address_may_have_a_port_and_a_path() -> None:
    settings = ["tracking.service=mlflow", "tracking.uri=https://example.com:8443/mlflow"]
    spec = load_run("notebook", None, [*REQUIRED, *settings])
    assert spec.tracking.uri == "https://example.com:8443/mlflow"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("service=tensorboard", "expected one of none, mlflow, wandb, trackio"),
        ("uri=mlflow.example.com", "tracking.uri is 'mlflow.example.com'; expected http://host"),
        ("uri=https://me:hunter22@example.com", "holds a user, a password or a token"),
        ("uri=http://example.com/?write_token=hunter22", "holds a user, a password or a token"),
        ("project=''", "tracking.project is ''"),
        ("api_key=hunter22", "tracking.api_key: unknown key"),
        ("token=hunter22", "credentials do not belong in a configuration"),
    ],
)
def test_what_is_not_an_address_a_name_or_a_service_is_refused(setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run("notebook", None, [*REQUIRED, f"tracking.{setting}"])
    assert said in str(caught.value)
    assert "hunter22" not in str(caught.value)
