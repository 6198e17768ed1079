"""Train a run on this machine, or on the Ray cluster that ``RAY_ADDRESS`` names."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.api.arguments import python_names, setting
from job.api.generator import Generator, load_generator
from job.config.load import load_run
from job.config.storage import StorageSpec
from job.report.metric_history import read_metrics
from job.report.status import RunStatus, read_status
from job.storage.uri import open_store
from job.telemetry.step_report import StepReport

if TYPE_CHECKING:
    from job.launch.trainer import View


@dataclass(frozen=True)
class Run:
    """A run folder."""

    uri: str
    storage: StorageSpec = StorageSpec()

    def status(self) -> RunStatus:
        """Return its state, step, losses, scores and checkpoint, as ``dcgan-train status``."""
        return read_status(open_store(self.uri, self.storage))

    def metrics(self) -> list[dict[str, float]]:
        """Return one row for each report of trained steps: ``step`` and every series by its name.

        Rows are in the order of steps. docs/metrics.md has the names; ``dcgan_discriminator_loss``
        is in each row.
        """
        rows = read_metrics(open_store(self.uri, self.storage)).rows
        trained = [row for row in rows if "dcgan_discriminator_loss" in row.values]
        return [{"step": row.step, **row.values} for row in trained]

    @python_names()
    def generator(self, *, best: bool = False) -> Generator:
        """Return the generator of the newest checkpoint, or of the one with the best score."""
        return load_generator(self.uri, best=best, storage=self.storage)


def train(
    config: str | Path | None = None,
    *,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_report: Callable[[StepReport], None] | None = None,
    verbose: bool = False,
) -> Run:
    """Train to the last step, or resume from the newest checkpoint of the run folder.

    ``config`` is a ``run.yaml``. ``settings`` have its keys, dotted, and win over it and over
    ``preset``: ``{"uri": "runs/first", "training.steps": 500}``. Without ``RAY_ADDRESS`` a local
    Ray is started and shut down. ``on_report`` gets the progress instead of a bar on standard
    error. ``KeyboardInterrupt`` saves a last checkpoint; the same call resumes.
    """
    spec = load_run(
        preset,
        Path(config) if config is not None else None,
        [setting(key, value) for key, value in (settings or {}).items()],
        os.environ,
    )
    from job.launch.run import train_run
    from job.telemetry.progress import ProgressBar

    view: AbstractContextManager[View] = ProgressBar() if on_report is None else _view(on_report)
    checked = train_run(spec, view, verbose=verbose)
    return Run(checked.spec.uri, checked.spec.storage)


class _Reports:
    def __init__(self, on_report: Callable[[StepReport], None]) -> None:
        self.update = on_report

    def note(self, text: str) -> None:
        """Drop it: notes are for a person."""


@contextlib.contextmanager
def _view(on_report: Callable[[StepReport], None]) -> "Iterator[View]":
    yield _Reports(on_report)
