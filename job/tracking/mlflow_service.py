"""A run on an MLflow tracking server."""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

from PIL import Image

from job.tracking.service import Description, Service, Status

# ``Tracker`` repeats what failed; MLflow's own defaults would repeat a request for minutes.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
MAX_PARAMS = 100  # of a request; MLflow's limit
MAX_PARAM_LENGTH = 6000


class MlflowService(Service):
    """One run at ``uri``; None: at MLFLOW_TRACKING_URI. See ``Service``."""

    def __init__(self, uri: str | None, description: Description):
        self._uri, self._description = uri, description
        self._client: Any = None
        self._run_id = ""

    def begin(self, run_id: str | None) -> str:
        """Create the run in the experiment named like the project, or set it to running again."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        client, project = MlflowClient(self._uri), self._description.project
        if run_id is None:
            experiment = client.get_experiment_by_name(project)
            experiment_id = (
                experiment.experiment_id if experiment else client.create_experiment(project)
            )
            run_id = client.create_run(experiment_id, run_name=self._description.name).info.run_id
        else:
            client.update_run(run_id, status="RUNNING")
        self._client, self._run_id = client, str(run_id)
        return self._run_id

    def describe(self) -> None:
        """Log the settings as parameters, which MLflow never changes, so only those it lacks."""
        from mlflow.entities import Param

        known = self._client.get_run(self._run_id).data.params
        params = [
            Param(key, (value if isinstance(value, str) else json.dumps(value))[:MAX_PARAM_LENGTH])
            for key, value in self._description.settings.items()
            if key not in known
        ]
        for start in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self._run_id, params=params[start : start + MAX_PARAMS])
        self.tag(self._description.facts)

    def log(self, step: int, time: float, values: Mapping[str, float]) -> None:
        """A point that is sent twice has the same time, so MLflow keeps one."""
        from mlflow.entities import Metric

        milliseconds = int(time * 1000)
        metrics = [Metric(name, value, milliseconds, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def log_grid(self, step: int, png: bytes) -> None:
        image = Image.open(io.BytesIO(png))
        self._client.log_image(self._run_id, image, key="samples", step=step, synchronous=True)

    def tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags_of_run = [RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(self._run_id, tags=tags_of_run)

    def end(self, status: Status) -> None:
        self._client.set_terminated(self._run_id, status.upper())
