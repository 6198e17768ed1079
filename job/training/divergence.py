"""The reason of each rollback, in the run folder: ``divergences/step-000000740-1.json``.

A loss was not finite, or the images became much worse.

The number of these files is the number of rollbacks, and of the noise stream used since.
"""

import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from job.config.errors import DivergedError
from job.gan.step import METRICS
from job.storage.retry import retry
from job.storage.store import ObjectStore

ROOT = "divergences/"
MAX_RANKS = 62  # whose bad shares are reported: bits of an int64


@dataclass(frozen=True)
class Divergence:
    """``metrics`` (float32 ``[K, 7]``) of a train call from ``first_step``; ``row`` is bad."""

    first_step: int
    row: int
    metrics: np.ndarray
    ranks: tuple[int, ...]
    """Workers whose own share was not finite in that step."""

    @property
    def step(self) -> int:
        """The step that diverged, counted from 1."""
        return self.first_step + self.row + 1

    def details(self) -> dict[str, Any]:
        """Return what the record says beyond the step."""
        shown = self.metrics[max(0, self.row - 10) : self.row + 1].tolist()
        first_shown = self.step - len(shown) + 1
        steps = [{"step": first_shown + i, **_plain(row)} for i, row in enumerate(shown)]
        return {"workers": list(self.ranks), "steps_before": steps}

    def __str__(self) -> str:
        column = int(np.nonzero(~np.isfinite(self.metrics[self.row]))[0][0])
        value = self.metrics[self.row, column]
        return f"step {self.step}: {METRICS[column]} is {value}; expected a finite number"


@dataclass(frozen=True)
class WorseImages:
    """The Frechet distance after ``step`` is over ``quality.rollback_ratio`` times the best.

    ``scores`` are known to the chief alone.
    """

    step: int
    ratio: float
    scores: dict[str, float]

    def details(self) -> dict[str, Any]:
        """Return what the record says beyond the step."""
        return dict(self.scores)

    def __str__(self) -> str:
        return (
            f"step {self.step}: the images became worse; expected a Frechet distance of at most"
            f" {self.ratio:g} times the best one (quality.rollback_ratio)"
        )


class Diverged(DivergedError):
    """Raised by all workers at the same step; ``checkpoint_step`` is the last committed one."""

    def __init__(
        self, divergence: Divergence | WorseImages, checkpoint_step: int | None, more: str = ""
    ) -> None:
        super().__init__(str(divergence) + more)
        self.divergence, self.checkpoint_step = divergence, checkpoint_step

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str]]:
        """Pickle the message alone."""
        return DivergedError, (str(self),)


def first_bad(metrics: np.ndarray) -> int | None:
    """Return the first row with a number that is not finite."""
    rows = np.nonzero(~np.isfinite(metrics).all(axis=1))[0]
    return int(rows[0]) if len(rows) else None


def record(store: ObjectStore, diverged: Diverged, patience_seconds: float) -> tuple[str, int]:
    """Write the diagnosis and return its key and number; retry for ``patience_seconds``.

    A write whose response was lost is repeated at the same key. JSON has no NaN, so such numbers
    are written as text.
    """
    divergence = diverged.divergence
    number = retry(lambda: count(store), patience_seconds) + 1
    document = {
        "step": divergence.step,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "last_good_checkpoint": diverged.checkpoint_step,
        "number": number,
        **divergence.details(),
    }
    key = f"{ROOT}step-{divergence.step:09d}-{number}.json"
    data = json.dumps(document, indent=2).encode()
    retry(lambda: store.write(key, data), patience_seconds)
    return key, number


def count(store: ObjectStore) -> int:
    """Return the number of divergences recorded in this run folder."""
    return sum(1 for entry in store.list(ROOT) if entry.key.endswith(".json"))


def _plain(row: Sequence[float]) -> dict[str, float | str]:
    return {
        name: value if math.isfinite(value) else str(value)
        for name, value in zip(METRICS, row, strict=True)
    }
