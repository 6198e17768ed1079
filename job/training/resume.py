"""Which checkpoint a start goes on from, and its state on every worker: the chief chooses, all load what it chose and prove it."""

import hashlib
import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from job.checkpoints.checkpoints import Checkpoints, DamagedPart
from job.checkpoints.manifest import Manifest
from job.checkpoints.origin import open_origin
from job.checkpoints.starts import TOO_OFTEN, Starts
from job.config.errors import StorageError
from job.config.spec import RESUME_WORDS, RunSpec
from job.data.index import Index
from job.storage.retry import until_it_works
from job.storage.store import ObjectStore
from job.training.identity import check_identity
from job.training.strategy import Agreement
from job.training.topology import Topology

log = logging.getLogger("dcgan.training")

T = TypeVar("T")
_TRIES = 3  # a worker that finds damaged what the chief found whole reads again


class Restored(NamedTuple):
    """A checkpoint with its parts, every one of them verified."""

    manifest: Manifest
    parts: dict[str, bytes]


class Resume:
    """Restores for one worker. The chief's also marks what is damaged and counts starts: the run folder's lease is this run's."""

    def __init__(self, spec: RunSpec, topology: Topology, store: ObjectStore, index: Index, agree: Agreement):
        self._spec, self._topology, self._index, self._agree = spec, topology, index, agree
        self._store = store
        self._starts = self._patiently(lambda: Starts(store)) if topology.is_chief else None

    def restore(self) -> Restored | None:
        """The same checkpoint on every worker, or None for a fresh run. A collective operation of three values."""
        chosen, is_other = self._patiently(self._choose) if self._topology.is_chief else (None, False)
        mine = [chosen.manifest.step + 1, int(is_other), _digest(chosen.manifest)] if chosen else [0, 0, 0]
        step, other, digest = self._agree(mine)
        if step == 0:
            return None
        found = chosen or self._patiently(lambda: self._load(step - 1, bool(other)))
        if _digest(found.manifest) != digest:
            raise StorageError(
                f"{self._spec.uri}: worker {self._topology.rank} read another checkpoint of step {step - 1} than the chief;"
                " expected the same one: does each of them see the same store?"
            )
        check_identity(self._spec, self._index, found.manifest, self._spec.uri)
        if self._starts:
            starts = self._starts
            self._patiently(lambda: starts.begin(found.manifest))
        log.info("resumed", extra={"fields": {"step": step - 1, "digest": f"{digest:x}"}})
        return found

    def went_well(self) -> None:
        """The first call after a restore was trained."""
        if self._starts:
            try:
                self._starts.went_well()
            except StorageError as error:
                log.warning("the count of starts was not cleared: %s", error)

    def _choose(self) -> tuple[Restored | None, bool]:
        """The chief's choice, and whether it is from another run folder."""
        if found := self._newest_whole():
            return found, False
        if self._spec.checkpoints.resume in RESUME_WORDS:
            return None, False
        origin = open_origin(self._spec.checkpoints.resume, self._spec.storage)
        restored = origin.checkpoints.restore(origin.step)
        if restored is None:
            raise StorageError(f"{self._spec.checkpoints.resume}: no committed checkpoint there; expected one (checkpoints.resume)")
        return Restored(*restored), True

    def _newest_whole(self) -> Restored | None:
        """The newest whose every part verifies and that did not crash the run twice; a damaged one is quarantined on the way."""
        checkpoints, damage = Checkpoints(self._store), "no manifest can be read"
        crashed: Restored | None = None
        for manifest in checkpoints.committed():
            try:
                found = Restored(manifest, checkpoints.read(manifest))
            except DamagedPart as error:
                damage = str(error)
                checkpoints.quarantine(manifest, damage)
                continue
            if self._starts and self._starts.are_too_many(manifest):
                log.warning("checkpoint of step %d passed over: the run ended %d times right after it", manifest.step, TOO_OFTEN)
                crashed = found
                continue
            return found
        committed = [folder for folder in checkpoints.folders() if folder.is_committed]
        if committed and not crashed:
            raise checkpoints.none_whole(len(committed), damage)
        return crashed

    def _load(self, step: int, is_other: bool) -> Restored:
        other = open_origin(self._spec.checkpoints.resume, self._spec.storage).checkpoints if is_other else None
        checkpoints = other or Checkpoints(self._store)
        for attempt in range(1, _TRIES + 1):
            for manifest in checkpoints.committed():
                if manifest.step != step:
                    continue
                try:
                    return Restored(manifest, checkpoints.read(manifest))
                except DamagedPart:
                    if attempt == _TRIES:
                        raise
        raise StorageError(
            f"{self._spec.uri}: worker {self._topology.rank} cannot read the checkpoint of step {step}; expected the one the chief read"
        )

    def _patiently(self, operation: Callable[[], T]) -> T:
        return until_it_works(operation, self._spec.data.fetch_patience_seconds)


def _digest(manifest: Manifest) -> int:
    """63 bits of what the manifest says of all parts."""
    said = "".join(f"{part.name} {part.num_bytes} {part.sha256}\n" for part in manifest.parts)
    return int.from_bytes(hashlib.sha256(f"{manifest.step} {said}".encode()).digest()[:8], "big") >> 1
