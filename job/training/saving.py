"""What the loop does to keep the state of a step: a copy now, the rest in the saving thread. Only the chief's saves; the others' does nothing."""

import datetime
import math
import time

from job.checkpoints.manifest import Manifest, SaveReason
from job.checkpoints.saver import Saver
from job.config.spec import RunSpec
from job.config.versions import versions
from job.data.index import Index
from job.gan.networks import Networks
from job.training import snapshot
from job.training.identity import model_identity, order_identity, settings_of
from job.training.observer import Observer
from job.training.topology import Topology

_LOOK_SECONDS = 1.0


class Saving:
    """The saves of one start; ``saver`` is None on all workers but the chief. ``committed_step`` already stands in the run folder."""

    def __init__(
        self,
        spec: RunSpec,
        topology: Topology,
        index: Index,
        observer: Observer,
        saver: Saver | None,
        noise_stream: int,
        committed_step: int | None = None,
    ):
        self._spec, self._topology, self._index, self._observer = spec, topology, index, observer
        self._saver, self._noise_stream = saver, noise_stream
        self._exporter = snapshot.Exporter(spec) if saver else None
        self._asked_step = self.committed_step = (
            committed_step  # to save it again would uncommit it first
        )

    def save(
        self, networks: Networks, step: int, metrics: dict[str, float], reason: SaveReason
    ) -> None:
        """Begin to save this step, unless that was done already."""
        saver, exporter = self._saver, self._exporter
        if saver is None or exporter is None or self._asked_step == step:
            return
        started = time.monotonic()
        taken = snapshot.take(networks, step)
        saver.save(self._facts(step, metrics, reason), lambda: snapshot.to_parts(taken, exporter))
        self._asked_step = step
        self._observer.held(time.monotonic() - started)

    def save_if_idle(self, networks: Networks, step: int, metrics: dict[str, float]) -> None:
        """The node may be gone soon: save whenever the save before is done."""
        if self._saver is not None and self._saver.is_idle:
            self.save(networks, step, metrics, "preemption")

    def look(self) -> None:
        """Take in what became of saves; raises what ended the saving thread (``SaveFailed``, ``DivergedError``, ``LeaseLost``)."""
        for event in self._saver.events() if self._saver else ():
            self._observer.saved(event)
            if event.outcome == "committed":
                self.committed_step = event.step

    def settle(self) -> int | None:
        """Let the save that is under way end, for ``checkpoints.grace_seconds``; the last step that is committed."""
        if self._saver is not None:
            self._wait(self._saver, time.monotonic() + self._spec.checkpoints.grace_seconds)
        return self.committed_step

    def finish(
        self, networks: Networks, step: int, metrics: dict[str, float], reason: SaveReason
    ) -> None:
        """Return when this step is committed; after ``checkpoints.grace_seconds`` in any case where the run was asked to stop."""
        if self._saver is None:
            return
        deadline = (
            time.monotonic() + self._spec.checkpoints.grace_seconds
            if reason == "preemption"
            else math.inf
        )
        if self.committed_step == step:
            return
        for _ in range(
            2
        ):  # the save under way, and where that is of another step, or this one was skipped, one more
            self._wait(self._saver, deadline)
            if self.committed_step == step or not self._saver.is_idle:
                return
            self._asked_step = None
            self.save(networks, step, metrics, reason)
        self._wait(self._saver, deadline)

    def _wait(self, saver: Saver, deadline: float) -> None:
        """Until nothing is in flight, or ``deadline``; what failed meanwhile is counted at once, because an outage can last."""
        while (
            not saver.finish(max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
            and time.monotonic() < deadline
        ):
            self.look()
        self.look()

    def _facts(self, step: int, metrics: dict[str, float], reason: SaveReason) -> Manifest:
        spec = self._spec
        return Manifest(
            step=step,
            images_seen=step * spec.training.global_batch_size,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            model=model_identity(spec),
            data_fingerprint=self._index.fingerprint,
            order=order_identity(spec),
            world_size=self._topology.world_size,
            metrics=metrics,
            versions=versions(),
            parts=(),
            settings=settings_of(spec),
            noise_stream=self._noise_stream,
            reason=reason,
        )
