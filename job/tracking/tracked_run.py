"""``tracking.json``: the run at a service that continues this run folder, and what was sent to it.

A step is written down before it is sent. So a killed run may miss one point there, and never sends
one twice: steps that are trained again after a restart are not sent again.

    {"service": "mlflow", "project": "dcgan-train", "run_id": "0a1b2c3d",
     "last_steps": {"metrics": 1200, "scores": 1000, "samples": 1000}}
"""

import json
import re
from dataclasses import asdict, dataclass, field

from job.data.json_fields import read_object
from job.run.layout import TRACKING
from job.run.stored_json import as_object, as_step, as_text
from job.storage.store import ObjectStore

MAX_BYTES = 1 << 16
SERIES = ("metrics", "scores", "samples")
_RUN_ID = re.compile(r"[\w-]{1,128}", re.ASCII)  # it becomes a part of a URL


@dataclass
class TrackedRun:
    """``last_steps`` has the last step of each of ``SERIES`` that has one."""

    service: str
    project: str
    run_id: str | None = None
    last_steps: dict[str, int] = field(default_factory=dict)


def read_tracked_run(store: ObjectStore, service: str, project: str) -> TrackedRun:
    """Return the run folder's run at ``service``; without an id if it has none in ``project``."""
    found = read_object(store, TRACKING, MAX_BYTES)
    run_id, tracked = as_text(found.get("run_id")), TrackedRun(service, project)
    is_same = (found.get("service"), found.get("project")) == (service, project)
    if is_same and _RUN_ID.fullmatch(run_id):
        steps = {name: as_step(as_object(found.get("last_steps")).get(name)) for name in SERIES}
        tracked.run_id = run_id
        tracked.last_steps = {name: step for name, step in steps.items() if step is not None}
    return tracked


def write_tracked_run(store: ObjectStore, tracked: TrackedRun) -> None:
    """Write it into the run folder."""
    store.write(TRACKING, json.dumps(asdict(tracked)).encode())
