"""Run folders for tests, written by the program's own code but without training.

python -m tests.report.runs FOLDER    # one with every kind of incident
"""

import dataclasses
import functools
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from job.checkpoints.best import Best
from job.checkpoints.checkpoints import Checkpoints
from job.config.load import load_run, to_yaml
from job.images.grids import image_grid, png_bytes, progress_gif
from job.run import attempts, metric_rows
from job.run.history import History
from job.run.layout import CONFIGURATION, DIVERGENCES, PROGRESS, grid_key, start_name
from job.run.segments import Writer
from job.sources.garments import draw_garments
from job.storage.store import ObjectStore
from job.storage.uri import open_store
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.series import current_values
from job.telemetry.step_report import StepReport
from job.telemetry.stream_metrics import StreamMetrics
from tests.checkpoints.saves import facts as checkpoint_facts
from tests.checkpoints.saves import parts_of, save

TOTAL = 6000
CALL = 20
BATCH = 64
STEP_SECONDS = 0.05
BEGIN = 1_767_322_800.0  # 2026-01-02T03:00:00Z


class Clock:
    """Seconds since 1970, moved by the test."""

    def __init__(self, now: float = BEGIN) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


METRICS_URL = "http://10.0.0.1:9400/metrics"


class SimulatedAttempt:
    """An attempt of the workers: reports as from a loop, every ``CALL`` steps."""

    def __init__(
        self,
        store: ObjectStore,
        writer: Writer,
        start: str,
        first_step: int,
        clock: Clock,
        restarts: int,
        every_seconds: float,
    ):
        self._store, self._clock, self._restarts = store, clock, restarts
        self.metrics = WorkerMetrics("garments", 0, clock=clock)
        self.streaming = StreamMetrics(
            "garments", 0, self.metrics.registry, ("throttled", "timeout")
        )
        self.history = History(
            writer,
            start,
            functools.partial(current_values, self.metrics.registry),
            every_seconds,
            clock=clock,
            on_goodput=self.metrics.goodput,
        )
        self.history.status.metrics_url(METRICS_URL)
        self._step, self._saved = first_step, first_step or None
        self._best = Best(math.inf, 0)
        self.report("compile", 0)

    def report(self, phase: str, num_steps: int) -> None:
        progress = self._progress(phase)
        if not num_steps:
            progress = dataclasses.replace(
                progress,
                step_seconds=0.0,
                data_wait_seconds=0.0,
                compute_seconds=0.0,
                sync_seconds=0.0,
            )
        self.metrics.enter(progress.phase)
        self.metrics.observe(progress, num_steps)
        self.history.observe(progress, num_steps)

    def train(self, until: int, checkpoint_every: int = 1000, sample_every: int = 1000) -> None:
        while self._step < until:
            self._step += CALL
            self._clock.now += CALL * STEP_SECONDS
            self.report("train", CALL)
            if self._step % sample_every == 0:
                self.sample()
            if self._step % checkpoint_every == 0:
                save(self._store, self._step)
                self._saved = self._step
                self.report("checkpoint", 0)
                self.metrics.enter("train")

    def sample(self) -> None:
        png = grid(self._step)
        self._store.write(grid_key(self._step), png)
        self.metrics.sampled(0.1 + 0.2 * self._step / TOTAL)
        self.history.grid(self._step, lambda: png)

    def score(self, distance: float, scored_by: dict[str, str]) -> None:
        """Score the present step, and save it with its scores."""
        self.metrics.scored({"frechet_distance": distance})
        self.history.status.score(self._step, distance)
        self._best = min(self._best, Best(distance, self._step))
        manifest = checkpoint_facts(
            self._step, frechet_distance=distance, **self._best.to_metrics()
        )
        Checkpoints(self._store).save(
            dataclasses.replace(manifest, scored_by=scored_by), parts_of(self._step)
        )
        self.report("score", 0)

    def back_to(self, step: int) -> None:
        """Roll back after a number that was not finite."""
        record = {
            "step": self._step + 3,
            "time": "2026-01-02T03:03:04+00:00",
            "workers": [1],
            "last_good_checkpoint": step,
            "number": 1,
        }
        self._store.write(
            f"{DIVERGENCES}step-{self._step + 3:09d}-1.json", json.dumps(record).encode()
        )
        self._step = step
        self.history.status.rolled_back()
        self.report("compile", 0)

    def _progress(self, phase: str) -> StepReport:
        share, noise = (
            self._step / TOTAL,
            random.Random(self._step).gauss,
        )  # the losses of a step are always the same
        wait = 0.004 + (0.02 if 0.6 < share < 0.65 else 0.0)
        return StepReport(
            step=self._step,
            total_steps=TOTAL,
            epoch=self._step / 312,
            images=self._step * BATCH,
            images_per_second=BATCH / (STEP_SECONDS + wait) + noise(0, 20) if self._step else 0.0,
            discriminator_loss=0.45 + 0.24 * math.exp(-share * 6) + noise(0, 0.03),
            generator_loss=1.6 - 0.9 * math.exp(-share * 4) + noise(0, 0.08),
            real_probability=0.72 + noise(0, 0.02),
            fake_probability=0.28 + 0.2 * math.exp(-share * 3) + noise(0, 0.02),
            discriminator_accuracy=0.74 + 0.2 * math.exp(-share * 5) + noise(0, 0.02),
            discriminator_gradient_norm=math.exp(noise(-1, 0.3))
            * (40 if 0.3 < share < 0.305 else 1),
            generator_gradient_norm=math.exp(noise(-0.4, 0.3)),
            step_seconds=STEP_SECONDS + wait,
            data_wait_seconds=wait,
            compute_seconds=0.035,
            sync_seconds=0.01,
            checkpoint_step=self._saved,
            phase=phase,  # type: ignore[arg-type]
            world_size=2,
            restarts=self._restarts,
        )


@contextmanager
def started(
    store: ObjectStore,
    stamp: str,
    first_step: int,
    clock: Clock,
    restarts: int = 0,
    every_seconds: float = 10.0,
) -> Iterator[SimulatedAttempt]:
    """An attempt of the workers, whose records are all written at the end of the block."""
    with Writer(store, 3600.0) as writer:
        course = SimulatedAttempt(
            store, writer, start_name(stamp, restarts), first_step, clock, restarts, every_seconds
        )
        yield course
        course.history.close()


def facts(step: int = 0) -> dict[str, object]:
    return {
        "step": step,
        "target_steps": TOTAL,
        "preset": "fashion",
        "data": {
            "uri": "s3://images/garments",
            "fingerprint": "3f" * 32,
            "num_images": 20000,
            "image_shape": [28, 28, 1],
        },
        "changed": {"training.generator_optimizer.learning_rate": {"was": 0.001, "is": 0.0005}}
        if step
        else {},
        "versions": {
            "python": "3.11.2",
            "dcgan-train": "0.1.0",
            "tensorflow": "2.21.0",
            "keras": "3.15.1",
            "ray": "2.60.0",
        },
        "machine": {"platform": "Linux-6.1-x86_64", "cores": 2},
    }


def configuration(**overrides: str) -> bytes:
    settings = [
        f"{key}={value}"
        for key, value in {
            "uri": "s3://runs/garments",
            "data.uri": "s3://images/garments",
            **overrides,
        }.items()
    ]
    spec = load_run("fashion", overrides=settings, check=False)
    return f"# data fingerprint: {'3f' * 32}\n{to_yaml(spec)}".encode()


@functools.cache
def grid(step: int) -> bytes:
    """Return a grid of garments that emerge from noise."""
    images = draw_garments(0, 0, 25)[0].astype(np.float32)
    noise = np.random.default_rng(step).normal(128, 60, images.shape)
    share = min(1.0, step / TOTAL)
    mixed = np.clip(images * share + noise * (1 - share), 0, 255).astype(np.uint8)
    return png_bytes(image_grid(mixed, 5, 5))


@functools.cache
def _recorded(write: Callable[[ObjectStore], None]) -> dict[str, bytes]:
    """Return the files that ``write`` makes in a run folder: once a session, not for each test."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        write(store)
        return {entry.key: store.read(entry.key) for entry in store.list()}


def _copy(files: dict[str, bytes], store: ObjectStore) -> None:
    for key, data in files.items():
        store.write(key, data)


def done_run(store: ObjectStore) -> None:
    """Write a run from start to end without incidents."""
    _copy(_recorded(_write_done_run), store)


def _write_done_run(store: ObjectStore) -> None:
    start, clock = attempts.begin(store, facts()), Clock()
    store.write(CONFIGURATION, configuration())
    with started(store, start.stamp, 0, clock) as course:
        course.sample()
        course.train(TOTAL)
    finish(store, start)


SCORED_BY = {
    "features": "classifier",
    "features_fingerprint": "a" * 64,
    "real_fingerprint": "b" * 64,
    "num_real": "2000",
    "num_generated": "2000",
}


def scored_run(
    store: ObjectStore,
    distances: dict[int, float],
    scored_by: dict[str, str] = SCORED_BY,
    **settings: str,
) -> None:
    """Write a run with a grid, a checkpoint and a score at each step of ``distances``."""
    start, clock = attempts.begin(store, facts()), Clock()
    store.write(CONFIGURATION, configuration(**settings))
    with started(store, start.stamp, 0, clock) as course:
        course.sample()
        for step, distance in distances.items():
            course.train(step)
            course.sample()
            course.score(distance, scored_by)
    start.end("done")


def troubled_run(
    store: ObjectStore,
    end: Callable[[attempts.Attempt], None] | None = None,
    every_seconds: float = 10.0,
) -> None:
    """Write a run that was killed, restarted, rolled back, hung, damaged and throttled."""
    if end is None and every_seconds == 10.0:
        _copy(_recorded(_write_troubled_run), store)
    else:
        _write_troubled_run(store, end, every_seconds)


def _write_troubled_run(
    store: ObjectStore,
    end: Callable[[attempts.Attempt], None] | None = None,
    every_seconds: float = 10.0,
) -> None:
    clock = Clock()
    store.write(CONFIGURATION, configuration())
    killed = attempts.begin(store, facts())
    with started(store, killed.stamp, 0, clock, every_seconds=every_seconds) as course:
        course.sample()
        course.train(1500)
    clock.now += 90
    start = attempts.begin(store, facts(1000))
    with started(store, start.stamp, 1000, clock, every_seconds=every_seconds) as course:
        course.train(2700)
        course.streaming.retried("throttled")
        course.streaming.retried("throttled")
        course.back_to(2000)
        course.train(3400)
    store.write(
        "hangs/20260102T030405Z-worker-1.txt",
        b"rank 1 hangs: nothing has finished for 450 s in phase train (limit 450 s)\n\nThread",
    )
    clock.now += 60
    with started(
        store, start.stamp, 2000, clock, restarts=1, every_seconds=every_seconds
    ) as course:
        course.train(TOTAL)
    checkpoints = Checkpoints(store)
    checkpoints.quarantine(
        checkpoints.committed()[-1],
        "s3://runs/garments/checkpoints/step-000001000/generator.npz: missing; expected 9 bytes",
    )
    if end is None:
        finish(store, start)
    else:
        end(start)


def finish(store: ObjectStore, start: attempts.Attempt) -> None:
    steps = range(0, TOTAL + 1, 1000)
    store.write(
        PROGRESS,
        progress_gif(
            [store.read(grid_key(step)) for step in steps], [f"step {step}" for step in steps]
        ),
    )
    start.end("done")
    metric_rows.merge(store)


if __name__ == "__main__":
    troubled_run(open_store(str(Path(sys.argv[1]))), every_seconds=1.0)
