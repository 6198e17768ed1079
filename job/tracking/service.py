"""A tracking service as a run sees it, and the choice of one. Loads no library of a service."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from job.config.errors import ConfigError
from job.config.tracking import TrackingSpec

Status = str  # finished, failed or killed
PACKAGES = {"mlflow": "mlflow-skinny", "wandb": "wandb", "trackio": "trackio"}


class Description(NamedTuple):
    """The run as the service lists it; ``settings`` is the configuration by dotted keys."""

    project: str
    name: str
    settings: Mapping[str, Any]
    facts: Mapping[str, str]


class Service:
    """One run at a service. Every method may block, and raise any ``Exception``."""

    def begin(self, run_id: str | None) -> str:
        """Create the run, or continue ``run_id``; return its id."""
        raise NotImplementedError

    def describe(self) -> None:
        """Log the run's settings and facts. May be called again."""

    def log(self, step: int, time: float, values: Mapping[str, float]) -> None:
        """Log ``values`` of ``step``, measured at ``time`` (seconds since 1970)."""

    def log_grid(self, step: int, png: bytes) -> None:
        """Log the sample grid of ``step``."""

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set texts of the run, such as the URI of its newest checkpoint."""

    def end(self, status: Status) -> None:
        """Mark the run as finished, failed or killed (stopped by a signal)."""

    def abandon(self) -> None:
        """Release what would delay the end of this process; called from another thread."""


def check_tracking(spec: TrackingSpec) -> None:
    """Raise ``ConfigError`` if the service's library is missing, or MLflow has no address."""
    if spec.service == "none":
        return
    found = importlib.util.find_spec(spec.service)
    if found is None or found.origin is None:  # without an origin it is any folder of that name
        raise ConfigError(
            f"tracking.service is {spec.service}, and the package {PACKAGES[spec.service]} is not"
            f" installed; run `pip install {PACKAGES[spec.service]}`, or set"
            " tracking.service: none"
        )
    # Without one, MLflow would write files into the working directory of a worker.
    if spec.service == "mlflow" and not (spec.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        raise ConfigError(
            "tracking.service is mlflow, and neither tracking.uri nor MLFLOW_TRACKING_URI is set;"
            " expected the address of the tracking server, such as http://mlflow.example.com:5000"
        )


def open_service(spec: TrackingSpec, description: Description) -> Service:
    """Return the service of ``spec``, not ``none``; its library is loaded by ``begin``."""
    if spec.service == "mlflow":
        from job.tracking.mlflow_service import MlflowService

        return MlflowService(spec.uri, description)
    from job.tracking.wandb_service import WandbService

    return WandbService(spec.service, spec.uri, description)
