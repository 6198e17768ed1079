"""Which checkpoint a start goes on from, and its state on every worker: the chief chooses, all load what it chose and prove it."""

import hashlib
import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from job.checkpoints.checkpoints import Checkpoints, DamagedPart
from job.checkpoints.crash_counts import TOO_OFTEN, CrashCounts
from job.checkpoints.manifest import BadManifest, Manifest
from job.checkpoints.origin import open_origin
from job.config.errors import StorageError
from job.config.spec import RESUME_WORDS, RunSpec
from job.data.index import Index
from job.run import attempts
from job.storage.retry import retry, retrying
from job.storage.store import ObjectMissing, ObjectStore
from job.training.identity import check_identity
from job.training.strategy import Agreement
from job.training.topology import Topology

log = logging.getLogger("dcgan.training")

T = TypeVar("T")
_MAX_READS = (
    3  # what is found damaged is read again: a store may lag, and a byte may flip on the way
)
_PAUSE_SECONDS = 1.0


class Restored(NamedTuple):
    """A checkpoint with the parts of its state, every one of them verified; ``is_own`` if it is in this run's folder."""

    manifest: Manifest
    parts: dict[str, bytes]
    is_own: bool = True


class Resume:
    """Restores for one worker. The chief's also marks what is damaged and counts starts: the run folder's lease is this run's."""

    def __init__(
        self,
        spec: RunSpec,
        topology: Topology,
        store: ObjectStore,
        index: Index,
        agree: Agreement,
        start: str,
        hosts: int,
    ):
        """``hosts`` is the sum of all workers' ``boot_number``; ``start`` names this attempt."""
        self._spec, self._topology, self._index, self._agree = spec, topology, index, agree
        self._store = store
        self._starts = (
            self._patiently(
                lambda: CrashCounts(store, start, topology.world_size, hosts, self._has_failed)
            )
            if topology.is_chief
            else None
        )

    def restore(self) -> Restored | None:
        """The same checkpoint on every worker, or None for a fresh run. A collective operation of three values."""
        chosen = self._patiently(self._choose) if self._topology.is_chief else None
        mine = (
            [chosen.manifest.step + 1, int(not chosen.is_own), _digest(chosen.manifest)]
            if chosen
            else [0, 0, 0]
        )
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

    def mark_succeeded(self) -> None:
        """The first call after a restore was trained."""
        if self._starts:
            try:
                self._starts.mark_succeeded()
            except StorageError as error:
                log.warning("the count of starts was not cleared: %s", error)

    def _has_failed(self, stamp: str) -> bool:
        """Whether the program that started at ``stamp`` ended with a crash: not a stop, and not an error that names its cause."""
        end = attempts.read(self._store, stamp).end
        return end.get("outcome") == "failed" and end.get("exit_code") == 1

    def _choose(self) -> Restored | None:
        """The chief's choice."""
        if found := self._newest_whole():
            return found
        if self._spec.checkpoints.resume in RESUME_WORDS:
            return None
        origin = open_origin(self._spec.checkpoints.resume, self._spec.storage)
        restored = origin.checkpoints.restore(origin.step, _state_parts)
        if restored is None:
            raise StorageError(
                f"{self._spec.checkpoints.resume}: no committed checkpoint there; expected one (checkpoints.resume)"
            )
        return Restored(*restored, is_own=False)

    def _newest_whole(self) -> Restored | None:
        """The newest whose every part verifies and that did not crash the run twice; a damaged one is quarantined on the way.

        Where the run ended right after an older one, too, the cause is not the checkpoint, and it is the newest again.
        """
        checkpoints, damage = Checkpoints(self._store), "no manifest can be read"
        crashed: Restored | None = None
        for _, manifest in checkpoints.readable():
            try:
                found = Restored(manifest, _read_again(checkpoints, manifest))
            except DamagedPart as error:
                damage = str(error)
                checkpoints.quarantine(manifest, damage)
                continue
            if self._starts and self._starts.are_too_many(manifest):
                if crashed:
                    log.warning(
                        "the run ended right after step %d, too: from step %d again",
                        manifest.step,
                        crashed.manifest.step,
                    )
                    self._starts.forget()
                    return crashed
                log.warning(
                    "checkpoint of step %d passed over: the run ended %d times right after it",
                    manifest.step,
                    TOO_OFTEN,
                )
                crashed = found
                continue
            return found
        committed = [folder for folder in checkpoints.folders() if folder.is_committed]
        if committed and not crashed:
            raise checkpoints.none_whole(len(committed), damage)
        return crashed

    def _load(self, step: int, is_other: bool) -> Restored:
        other = (
            open_origin(self._spec.checkpoints.resume, self._spec.storage).checkpoints
            if is_other
            else None
        )
        checkpoints = other or Checkpoints(self._store)

        def load() -> Restored:
            manifest = checkpoints.manifest(step)
            return Restored(manifest, _read_again(checkpoints, manifest), is_own=not is_other)

        try:
            return _reread(load, ObjectMissing, BadManifest)
        except (ObjectMissing, BadManifest):
            raise StorageError(
                f"{self._spec.uri}: worker {self._topology.rank} cannot read the checkpoint of step"
                f" {step}; expected the one the chief read"
            ) from None

    def _patiently(self, operation: Callable[[], T]) -> T:
        return retry(operation, self._spec.data.fetch_patience_seconds)


def _read_again(checkpoints: Checkpoints, manifest: Manifest) -> dict[str, bytes]:
    """Return the verified parts of the state; raise ``DamagedPart`` if one stays damaged."""
    return _reread(lambda: checkpoints.read(manifest, _state_parts(manifest)), DamagedPart)


def _reread(read: Callable[[], T], *on: type[Exception]) -> T:
    """Return what ``read`` returns; retry a few times on errors ``on``."""
    return retrying(on=on, max_attempts=_MAX_READS, first_wait_seconds=_PAUSE_SECONDS)(read)


def _state_parts(manifest: Manifest) -> list[str]:
    """All but ``generator.keras``, which is for people: 512 workers need not download it."""
    return [part.name for part in manifest.parts if part.name.endswith(".npz")]


def _digest(manifest: Manifest) -> int:
    """63 bits of what the manifest says of all parts."""
    said = "".join(f"{part.name} {part.num_bytes} {part.sha256}\n" for part in manifest.parts)
    return (
        int.from_bytes(hashlib.sha256(f"{manifest.step} {said}".encode()).digest()[:8], "big") >> 1
    )
