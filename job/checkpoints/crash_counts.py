"""Count crashes right after a restore from each checkpoint: ``checkpoints/starts.json``.

A checkpoint whose every byte is right can still crash the process that reads it. After two such
crashes another checkpoint is used. A stop, a lost node and a rollback are not crashes. The next
attempt decides which of these ended the one before::

    {
      "step 30 of 2026-01-01T00:00:00+00:00": 1,
      "begun": {
        "checkpoint": "step 30 of 2026-01-01T00:00:00+00:00",
        "start": "20260102T030405Z-001",
        "workers": 2,
        "hosts": 281474976710655
      }
    }
"""

import json
from collections.abc import Callable
from typing import Any

from job.checkpoints.manifest import Manifest
from job.data.json_fields import read_object
from job.storage.store import ObjectStore

KEY = "checkpoints/starts.json"
TOO_OFTEN = 2
_BEGUN = "begun"
_MAX_BYTES, _MAX_CHECKPOINTS = 65536, 100


class CrashCounts:
    """The counts in one run folder. Only the chief's process writes them."""

    def __init__(
        self,
        store: ObjectStore,
        start: str,
        world_size: int,
        hosts: int,
        has_failed: Callable[[str], bool],
    ):
        """Count the attempt before ``start`` if it crashed.

        ``start`` names this attempt of ``world_size`` workers. ``hosts`` is the sum of their
        ``boot_number``. ``has_failed(stamp)`` returns whether that process ended with a crash.
        """
        self._store, self._start = store, start
        self._world_size, self._hosts = world_size, hosts
        found = read_object(store, KEY, _MAX_BYTES)  # an earlier version wrote counts alone
        self._times = {name: times for name, times in found.items() if isinstance(times, int)}
        self._begun: str | None = None
        begun = found.get(_BEGUN)
        if isinstance(begun, dict) and self._was_crash(begun, has_failed):
            self._count(str(begun.get("checkpoint")))

    def are_too_many(self, manifest: Manifest) -> bool:
        """Return whether the checkpoint crashed ``TOO_OFTEN``."""
        return self._times.get(_name(manifest), 0) >= TOO_OFTEN

    def begin(self, manifest: Manifest) -> None:
        """Mark that training starts from the checkpoint. Idempotent."""
        self._begun = _name(manifest)
        self._write()

    def mark_succeeded(self) -> None:
        """Clear the count of this checkpoint: steps were trained."""
        self._times.pop(self._begun or "", None)
        self._begun = None
        self._write()

    def forget(self) -> None:
        """Clear all counts: no checkpoint was the cause."""
        self._times, self._begun = {}, None
        self._write()

    def _was_crash(self, begun: dict[str, Any], has_failed: Callable[[str], bool]) -> bool:
        """Return whether the attempt before, which trained nothing, crashed.

        After a crash Ray restarts as many workers on the same hosts; after a lost node others. A
        mark of an earlier version has no hosts. A rollback restores again in the same attempt.
        """
        before = str(begun.get("start"))
        if before == self._start:
            return False
        stamp = before.rpartition("-")[0]
        if stamp != self._start.rpartition("-")[0]:
            return has_failed(stamp)
        same_size = begun.get("workers") == self._world_size
        return same_size and begun.get("hosts", self._hosts) == self._hosts

    def _count(self, name: str) -> None:
        times = self._times | {name: self._times.get(name, 0) + 1}
        self._times = dict(list(times.items())[-_MAX_CHECKPOINTS:])

    def _write(self) -> None:
        document: dict[str, Any] = dict(self._times)
        if self._begun:
            document[_BEGUN] = {
                "checkpoint": self._begun,
                "start": self._start,
                "workers": self._world_size,
                "hosts": self._hosts,
            }
        self._store.write(KEY, json.dumps(document, indent=2).encode())


def _name(manifest: Manifest) -> str:
    """Return a checkpoint's name; a step that is saved again is another checkpoint."""
    return f"step {manifest.step} of {manifest.created}"
