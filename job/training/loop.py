"""The training loop of one worker: call, look at the losses, and at the schedule's stops make a grid or a checkpoint.

Every worker runs the same loop over the same steps; what only the chief does (write) happens between collective operations, never inside one.
"""

import datetime
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from job.config.errors import DivergedError
from job.config.spec import RunSpec
from job.data.index import Index
from job.gan.networks import Networks
from job.gan.step import METRICS
from job.storage.store import ObjectStore
from job.telemetry.report import Phase, Progress
from job.training import snapshot
from job.training.call import Call
from job.training.checkpoint import Checkpoints
from job.training.identity import model_identity, order_identity
from job.training.input import Input
from job.training.manifest import Manifest
from job.training.observer import Observer
from job.training.samples import save_grid
from job.training.schedule import Schedule
from job.training.strategy import agree_on
from job.training.topology import Topology
from job.training.versions import versions


@dataclass(frozen=True)
class Session:
    """All that the loop works with, made by ``worker``."""

    spec: RunSpec
    topology: Topology
    observer: Observer
    store: ObjectStore
    index: Index
    schedule: Schedule
    strategy: tf.distribute.Strategy
    networks: Networks
    exporter: snapshot.Exporter
    call: Call


class Loop:
    """Runs from the checkpoint it resumed from, or the start, to the end. Keeps what the next report needs: losses, times and the last checkpoint."""

    def __init__(self, session: Session, resumed: Manifest | None):
        self._session = session
        self._checkpoints = Checkpoints(session.store)
        self._step = resumed.step if resumed else 0
        self._checkpoint_step = resumed.step if resumed else None
        self._checkpoint_seconds: float | None = None
        self._metrics = {name: resumed.metrics.get(name, 0.0) if resumed else 0.0 for name in METRICS}
        self._reported_at = time.monotonic()
        self._rate = 0.0

    def run(self, images: Input) -> None:
        """Train until the schedule's last step; ``DivergedError`` at a loss that is not finite."""
        schedule = self._session.schedule
        if self._step == 0:
            self._sample()
        self._report("compile")
        waiting_since = self._reported_at = time.monotonic()
        for (first_step, num_steps), chunk in zip(schedule.calls(self._step), images, strict=True):
            called_at = time.monotonic()
            losses = self._session.call(chunk, tf.constant(first_step, tf.int64)).numpy()
            times = _Times(num_steps, time.monotonic() - waiting_since, called_at - waiting_since)
            self._check_finite(losses, first_step)
            self._metrics = dict(zip(METRICS, losses.mean(axis=0).tolist(), strict=True))
            self._step = first_step + num_steps
            self._report("train", times)
            if schedule.samples_at(self._step):
                self._sample()
            if schedule.checkpoints_at(self._step):
                self._save()
            waiting_since = time.monotonic()

    def _check_finite(self, losses: np.ndarray, first_step: int) -> None:
        bad_steps, bad_metrics = np.nonzero(~np.isfinite(losses))
        if not len(bad_steps):
            return
        kept = "none was saved yet" if self._checkpoint_step is None else f"step {self._checkpoint_step} in {self._session.spec.uri}"
        raise DivergedError(
            f"step {first_step + int(bad_steps[0]) + 1}: {METRICS[bad_metrics[0]]} is {losses[bad_steps[0], bad_metrics[0]]};"
            f" expected a finite number. Last good checkpoint: {kept}. Lower the learning rates or look at the images, then start again"
        )

    def _sample(self) -> None:
        """The grid of this step. The moving statistics were averaged at the end of the call, so the chief's are everyone's."""
        if not self._session.topology.is_chief:
            return
        generator = self._session.exporter.load(self._session.networks)
        save_grid(self._session.spec, self._session.store, generator, self._step)

    def _save(self) -> None:
        """Commit a checkpoint; every worker leaves only when it stands, so all agree on what the last one is."""
        session, started = self._session, time.monotonic()
        if session.topology.is_chief:
            parts = snapshot.take(session.networks, self._step)
            parts["generator.keras"] = session.exporter.to_keras(session.networks)
            self._checkpoints.save(self._facts(), parts)
            self._checkpoints.prune(session.spec.checkpoints.keep)
        self._checkpoint_step = agree_on(session.strategy, self._step)
        self._checkpoint_seconds = time.monotonic() - started
        self._report("checkpoint")

    def _facts(self) -> Manifest:
        spec = self._session.spec
        return Manifest(
            step=self._step,
            images_seen=self._step * spec.training.global_batch_size,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            model=model_identity(spec),
            data_fingerprint=self._session.index.fingerprint,
            order=order_identity(spec),
            world_size=self._session.topology.world_size,
            metrics=self._metrics,
            versions=versions(),
            parts=(),
        )

    def _report(self, phase: Phase, times: "_Times | None" = None) -> None:
        batch, now = self._session.spec.training.global_batch_size, time.monotonic()
        times = times or _Times(0, 0.0, 0.0)
        if times.num_steps:
            self._rate = times.num_steps * batch / (now - self._reported_at)
            self._reported_at = now
        progress = Progress(
            step=self._step,
            total_steps=self._session.schedule.total_steps,
            epoch=self._step / self._session.schedule.steps_per_epoch,
            images=self._step * batch,
            images_per_second=self._rate,
            **self._metrics,
            step_seconds=times.seconds / max(times.num_steps, 1),
            data_wait_seconds=times.wait_seconds / max(times.num_steps, 1),
            checkpoint_step=self._checkpoint_step,
            checkpoint_seconds=self._checkpoint_seconds,
            phase=phase,
            world_size=self._session.topology.world_size,
            restarts=self._session.topology.restarts,
            rank=self._session.topology.rank,
        )
        self._session.observer.progress(progress, times.num_steps)


class _Times(NamedTuple):
    """Of the last call: its steps, its seconds in all and those of them spent waiting for images."""

    num_steps: int
    seconds: float
    wait_seconds: float
