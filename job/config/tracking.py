"""Experiment tracking: the service that shows a run among others. Its keys are never here."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from job.config.errors import ConfigError
from job.config.fields import Section
from job.config.storage import is_http_url

Service = Literal["none", "mlflow", "wandb", "trackio"]


class TrackingSpec(Section):
    """Experiment tracking, beside the run folder; a failure there never stops the run."""

    service: Service = "none"
    """`mlflow`, `wandb` (Weights & Biases) or `trackio`, each a package to install; `none`: no
    tracking."""
    uri: str | None = None
    """Address of the service, `http(s)://host[:port]`; unset: the variable that its library reads
    (`MLFLOW_TRACKING_URI`, `WANDB_BASE_URL`, `TRACKIO_SERVER_URL`). Keys are only in variables."""
    project: Annotated[str, Field(min_length=1)] = "dcgan-train"
    """Project that the run is listed in; MLflow's word is experiment."""
    name: Annotated[str, Field(min_length=1)] | None = None
    """Name of the run there; unset: the name of the run folder."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Raise ``ConfigError`` for an address with a password, or one that is not http(s)."""
        if self.uri is not None and ("@" in self.uri or "?" in self.uri):  # not shown
            raise ConfigError(
                "tracking.uri holds a user, a password or a token; expected only http(s)://host,"
                " with a port or a path. Give keys in the variables that the library reads"
            )
        if self.uri is not None and not is_http_url(self.uri):
            raise ConfigError(
                f"tracking.uri is {self.uri!r}; expected http://host:port or https://host[:port]."
                " For another kind of address set the library's variable instead"
            )
        return self
