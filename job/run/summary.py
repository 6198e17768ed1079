"""``summary.json``: the result of a run. Written last, so its presence means the run is done."""

import json
from dataclasses import asdict, dataclass

from job.data.json_fields import read_object
from job.run.layout import SUMMARY
from job.run.stored_json import as_number
from job.storage.store import ObjectStore

MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Summary:
    """``steps`` are all steps of the run.

    ``seconds`` and ``images_per_second`` are those of the last attempt, ``restarts`` its restarts
    of the workers.
    """

    outcome: str
    steps: int
    resumed_from_step: int
    images_per_second: float | None
    seconds: float
    world_size: int
    restarts: int
    versions: dict[str, str]


def write_summary(store: ObjectStore, summary: Summary) -> None:
    """Write it into the run folder."""
    store.write(SUMMARY, json.dumps(asdict(summary), indent=2).encode())


def read_speed(store: ObjectStore) -> float | None:
    """Return the images per second of the last attempt; None if unknown."""
    return as_number(read_object(store, SUMMARY, MAX_BYTES).get("images_per_second"))


def finished_step(store: ObjectStore) -> int | None:
    """Return the step up to which the run is done, grids and GIF included; None if unknown."""
    step = read_object(store, SUMMARY, MAX_BYTES).get("steps")
    return step if isinstance(step, int) and not isinstance(step, bool) else None
