"""A run folder with checkpoints, and workers that resume from it without TensorFlow."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import Index
from job.run.layout import start_name
from job.storage.uri import open_store
from job.training.context import RunContext
from job.training.identity import model_identity, order_identity, settings_of
from job.training.resume import Resume
from job.training.topology import Topology
from tests.checkpoints.saves import parts_of
from tests.streaming.sets import pack_numbered

Values = dict[str, int]


def context_of(**values: Any) -> RunContext:
    """Return a context with these fields; the others are None."""
    return RunContext(**dict.fromkeys(RunContext.__dataclass_fields__) | values)


class Run:
    """A run folder with checkpoints of 10, 20 and 30 steps."""

    def __init__(self, folder: Path, **settings: object):
        self.index: Index = pack_numbered(folder / "set", 64, 32, height=8, width=8)
        self.settings = settings
        self.uri = str(folder / "run")
        self.stamp, self.num_attempts = "20260102T030405Z", 0
        for step in (10, 20, 30):
            self.save(step)

    @property
    def spec(self) -> RunSpec:
        values = {
            "uri": self.uri,
            "data.uri": "set",
            "model.image_size": 8,
            "training.global_batch_size": 8,
            **self.settings,
        }
        return load_run("notebook", overrides=[f"{key}={value}" for key, value in values.items()])

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(open_store(self.uri))

    def save(self, step: int) -> None:
        spec = self.spec
        facts = Manifest(
            step=step,
            images_seen=step * 8,
            created="2026-01-01T00:00:00+00:00",
            model=model_identity(spec),
            data_fingerprint=self.index.fingerprint,
            order=order_identity(spec),
            world_size=2,
            metrics={},
            versions={},
            parts=(),
            settings=settings_of(spec),
        )
        self.checkpoints.save(facts, parts_of(step))

    def resume(
        self,
        rank: int = 0,
        chosen: Values | None = None,
        store: object = None,
        world_size: int = 2,
        hosts: int = 7,
        said: list[Values] | None = None,
    ) -> Resume:
        """Start the next attempt of a worker.

        ``chosen`` is the chief's choice; the values that this worker broadcasts go to ``said``.
        """

        def broadcast(**values: int) -> Values:
            (said if said is not None else []).append(values)
            return chosen or values

        context = context_of(
            spec=self.spec,
            topology=Topology(rank, world_size),
            attempt=self.next_attempt(),
            store=store or open_store(self.uri),
            index=self.index,
            collectives=SimpleNamespace(broadcast_from_chief=broadcast),
            hosts=hosts,
        )
        return Resume(context)

    def restore(self, *args: Any, **values: Any) -> int | None:
        """Return the step that the next attempt of a worker resumes from."""
        found = self.resume(*args, **values).restore()
        if found is None:
            return None
        assert found.parts == parts_of(found.manifest.step)
        return found.manifest.step

    def next_attempt(self) -> str:
        """Return the name of the next attempt of the workers by the same program."""
        self.num_attempts += 1
        return start_name(self.stamp, self.num_attempts - 1)

    def train_from_newest(self) -> int | None:
        """Return the step that an attempt resumes from whose first train call succeeds."""
        resume = self.resume()
        found = resume.restore()
        resume.mark_succeeded()
        return found.manifest.step if found else None


def part_of(run: Run, step: int, name: str) -> Path:
    return Path(run.uri) / "checkpoints" / f"step-{step:09d}" / name
