"""A worker alone in the test's process: real stores, networks and collectives, no Ray."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import read_index
from job.storage.uri import open_store
from job.telemetry.step_report import StepReport
from job.training.collectives import Collectives
from job.training.context import RunContext
from job.training.listeners import Driver, Requests
from job.training.schedule import plan
from job.training.topology import Topology
from tests.streaming.sets import pack_numbered
from tests.training.run_folder import context_of

NUM_IMAGES = 40
SETTINGS = {
    "model.image_size": 8,
    "model.generator.filters": "[8]",
    "model.generator.latent_size": 4,
    "model.discriminator.filters": "[8]",
    "training.global_batch_size": 8,
    "training.steps": 10,
    "training.steps_per_call": 2,
    "checkpoints.every_steps": 4,
    "samples.every_steps": 4,
    "workers.count": 1,
}


def spec_of(folder: Path, **settings: object) -> RunSpec:
    """Return a run of ``folder/run`` on ``folder/set``; ``__`` in a name is the dot."""
    given = {name.replace("__", "."): value for name, value in settings.items()}
    values = {"uri": folder / "run", "data.uri": folder / "set", **SETTINGS, **given}
    return load_run("notebook", overrides=[f"{key}={value}" for key, value in values.items()])


class Recorder(Driver):
    """A driver that keeps the events, and requests a stop or a save at some steps."""

    def __init__(self, requests: dict[int, Requests] | None = None) -> None:
        self.phases: list[str] = []
        self.reports: list[StepReport] = []
        self.grids: dict[int, np.ndarray] = {}
        self.outcomes: list[tuple[int, str]] = []
        self.first_images = np.zeros(0, np.uint8)
        self.num_not_finite = 0
        self._requests = requests or {}

    def requests(self) -> Requests:
        return self._requests.get(self.reports[-1].step, Requests())

    def on_phase(self, phase: str) -> None:
        self.phases.append(phase)

    def on_report(self, report: StepReport, num_steps: int) -> None:
        self.reports.append(report)

    def on_first_images(self, images: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.first_images, self.first_labels = images, labels

    def on_grid(self, step: int, images: np.ndarray) -> None:
        self.grids[step] = images

    def on_save_event(self, event) -> None:
        self.outcomes.append((event.step, event.outcome))

    def on_not_finite(self) -> None:
        self.num_not_finite += 1


def alone(spec: RunSpec, driver: Recorder, attempt: str = "20260102T030405Z-000") -> RunContext:
    """Return the context of the only worker of ``spec``, with TensorFlow's default strategy."""
    folder = Path(spec.data.uri)
    if not folder.exists():
        pack_numbered(folder, NUM_IMAGES, 16, height=8, width=8)
    store, strategy = open_store(spec.data.uri), tf.distribute.get_strategy()
    index = read_index(store)
    return context_of(
        spec=spec,
        topology=Topology(0, 1),
        attempt=attempt,
        store=open_store(spec.uri),
        data_store=store,
        index=index,
        schedule=plan(spec, index.num_rows),
        strategy=strategy,
        collectives=Collectives(strategy, is_chief=True),
        check_ownership=lambda: None,
        driver=driver,
        listeners=driver,
    )
