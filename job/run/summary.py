"""``summary.json``: how a run ended. Written last of all, so its presence says that nothing is left to do up to its step."""

import json
from dataclasses import asdict, dataclass

from job.storage.store import ObjectMissing, ObjectStore

KEY = "summary.json"
MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Summary:
    """``steps`` done in all; ``seconds`` and ``images_per_second`` are those of the last start, ``restarts`` of the group in it."""

    outcome: str
    steps: int
    resumed_from_step: int
    images_per_second: float | None
    seconds: float
    world_size: int
    restarts: int
    versions: dict[str, str]


def write_summary(store: ObjectStore, summary: Summary) -> None:
    """Put it into the run folder."""
    store.write(KEY, json.dumps(asdict(summary), indent=2).encode())


def finished_step(store: ObjectStore) -> int | None:
    """The step up to which the run folder is done, grids and GIF included; None where it is not, or says nothing readable."""
    try:
        step = json.loads(store.read_range(KEY, 0, MAX_BYTES)).get("steps")
    except (ObjectMissing, ValueError, AttributeError, RecursionError):
        return None
    return step if isinstance(step, int) and not isinstance(step, bool) else None
