"""A run of the chart's tests, and what it leaves on the store, as the program reads it."""

import subprocess
from dataclasses import dataclass
from typing import Any

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.storage import StorageSpec
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from tests.e2e.store import Store


@dataclass(frozen=True)
class Run:
    """The run folder ``uri``; this process's AWS variables reach it."""

    uri: str
    store: Store

    def values(
        self, images: str, image: dict[str, str], *, steps: int, every_steps: int, **run: Any
    ) -> dict[str, Any]:
        """Return values of the chart for two workers of half a core: the node may have two cores.

        ``run`` is added to the run's.
        """
        return {
            "image": image,
            "run": {
                "uri": self.uri,
                "data": {"uri": images},
                "training": {"steps": steps, "steps_per_call": 5},
                "checkpoints": {"every_steps": every_steps, "keep": 1000},
                "samples": {"every_steps": 100},
                "storage": {"endpoint_url": self.store.pods_url},
            }
            | run,
            "credentials": {"existingSecret": "s3-keys"},
            "workers": {"count": 2, "cpus": 0.5, "memory": "3Gi", "scratchGiB": 1},
            "head": {"cpus": 0.5, "memory": "4Gi", "scratchGiB": 1},
            "submitter": {"cpus": 0.25},
            "cache": {"sizeGiB": 1},
            "job": {"backoffLimit": 0},
        }

    @property
    def objects(self) -> ObjectStore:
        return open_store(self.uri, StorageSpec(endpoint_url=self.store.server.endpoint_url))

    def committed(self) -> list[Manifest]:
        """Newest first."""
        return Checkpoints(self.objects).committed()

    def step(self) -> int:
        """Return the step of the newest checkpoint, 0 if there is none."""
        committed = self.committed()
        return committed[0].step if committed else 0

    def starts(self) -> list[str]:
        """Return the names of the attempts, oldest first, as far as their logs have arrived."""
        logs = [entry.key for entry in self.objects.list("logs/") if "-rank" in entry.key]
        return sorted({key.partition("-rank")[0] for key in logs})

    def verify(self) -> str:
        """Return the output of `dcgan-train checkpoints verify`, which reads every byte."""
        command = ["dcgan-train", "checkpoints", "verify", self.uri]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=300
        ).stdout
