"""How often the run was started from each checkpoint without getting anywhere: ``checkpoints/starts.json``.

A checkpoint whose every byte is right can still end the process that reads it. After two such starts another one is taken.
"""

import json

from job.checkpoints.manifest import Manifest
from job.storage.store import ObjectMissing, ObjectStore

KEY = "checkpoints/starts.json"
TOO_OFTEN = 2
_MOST_BYTES, _MOST_CHECKPOINTS = 65536, 100


class Starts:
    """The counts in one run folder. Only the chief's process writes them."""

    def __init__(self, store: ObjectStore):
        self._store = store
        self._times = _read(store)
        self._begun: str | None = None

    def are_too_many(self, manifest: Manifest) -> bool:
        """Whether the checkpoint has had its chances."""
        return self._times.get(_name(manifest), 0) >= TOO_OFTEN

    def begin(self, manifest: Manifest) -> None:
        """Count a start from the checkpoint, once for this object: it can be repeated, also where the answer of its write was lost."""
        name = _name(manifest)
        if self._begun != name:
            self._begun = name
            times = self._times | {name: self._times.get(name, 0) + 1}
            self._times = dict(list(times.items())[-_MOST_CHECKPOINTS:])
        self._write()

    def went_well(self) -> None:
        """Steps were trained: the count of this checkpoint begins anew."""
        if self._times.pop(self._begun or "", None):
            self._write()

    def forget(self) -> None:
        """No checkpoint was the cause: all counts begin anew."""
        self._times = {}
        self._write()

    def _write(self) -> None:
        self._store.write(KEY, json.dumps(self._times, indent=2).encode())


def _name(manifest: Manifest) -> str:
    """A step can be saved again, and is then another checkpoint."""
    return f"step {manifest.step} of {manifest.created}"


def _read(store: ObjectStore) -> dict[str, int]:
    """What stands there; an unreadable file says nothing."""
    try:
        told = json.loads(store.read_range(KEY, 0, _MOST_BYTES))
    except (ObjectMissing, ValueError, RecursionError):
        return {}
    return {str(name): times for name, times in told.items() if isinstance(times, int)} if isinstance(told, dict) else {}
