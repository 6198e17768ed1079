"""How often the workers crashed right after they started from each checkpoint: ``checkpoints/starts.json``.

A checkpoint whose every byte is right can still end the process that reads it. After two such crashes another one is taken. A start that was
stopped, or whose nodes were taken away, is not a crash: what ended it is judged by the next start.

    {"step 30 of 2026-01-01T00:00:00+00:00": 1, "begun": {"checkpoint": "step 30 of ...", "start": "20260102T030405Z-001", "workers": 2}}
"""

import json
from collections.abc import Callable
from typing import Any

from job.checkpoints.manifest import Manifest
from job.storage.store import ObjectMissing, ObjectStore

KEY = "checkpoints/starts.json"
TOO_OFTEN = 2
_BEGUN = "begun"
_MAX_BYTES, _MAX_CHECKPOINTS = 65536, 100


class CrashCounts:
    """The counts in one run folder. Only the chief's process writes them."""

    def __init__(
        self, store: ObjectStore, start: str, world_size: int, has_failed: Callable[[str], bool]
    ):
        """``start`` names this start of ``world_size`` workers; ``has_failed`` says whether the program of that stamp ended with a crash."""
        self._store, self._start, self._world_size = store, start, world_size
        found = _read(store)
        self._times = {name: times for name, times in found.items() if isinstance(times, int)}
        self._begun: str | None = None
        begun = found.get(_BEGUN)
        if isinstance(begun, dict) and self._was_crash(begun, has_failed):
            self._count(str(begun.get("checkpoint")))

    def are_too_many(self, manifest: Manifest) -> bool:
        """Whether the checkpoint has had its chances."""
        return self._times.get(_name(manifest), 0) >= TOO_OFTEN

    def begin(self, manifest: Manifest) -> None:
        """Training starts from the checkpoint. Can be repeated, also where the answer of its write was lost."""
        self._begun = _name(manifest)
        self._write()

    def mark_succeeded(self) -> None:
        """Steps were trained: clear the count of this checkpoint."""
        self._times.pop(self._begun or "", None)
        self._begun = None
        self._write()

    def forget(self) -> None:
        """No checkpoint was the cause: clear all counts."""
        self._times, self._begun = {}, None
        self._write()

    def _was_crash(self, begun: dict[str, Any], has_failed: Callable[[str], bool]) -> bool:
        """Whether the start before, which trained nothing, ended by itself.

        Ray restarts as many workers after a crash while the program runs; a program that is stopped or killed is started again by its user.
        """
        before = str(begun.get("start"))
        stamp = before.rpartition("-")[0]
        if stamp == self._start.rpartition("-")[0]:
            return begun.get("workers") == self._world_size
        return has_failed(stamp)

    def _count(self, name: str) -> None:
        times = self._times | {name: self._times.get(name, 0) + 1}
        self._times = dict(list(times.items())[-_MAX_CHECKPOINTS:])

    def _write(self) -> None:
        begun = (
            {_BEGUN: {"checkpoint": self._begun, "start": self._start, "workers": self._world_size}}
            if self._begun
            else {}
        )
        self._store.write(KEY, json.dumps(self._times | begun, indent=2).encode())


def _name(manifest: Manifest) -> str:
    """A step can be saved again, and is then another checkpoint."""
    return f"step {manifest.step} of {manifest.created}"


def _read(store: ObjectStore) -> dict[str, Any]:
    """The file's content, also that of an earlier version, which has counts alone; nothing if it is unreadable."""
    try:
        found = json.loads(store.read_range(KEY, 0, _MAX_BYTES))
    except (ObjectMissing, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
