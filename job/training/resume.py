"""Resume from a checkpoint: the chief chooses it, every worker loads it and verifies its digest."""

import hashlib
import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from job.checkpoints.checkpoints import Checkpoints, DamagedPart
from job.checkpoints.crash_counts import TOO_OFTEN, CrashCounts
from job.checkpoints.manifest import BadManifest, Manifest
from job.checkpoints.origin import open_origin
from job.config.errors import StorageError
from job.config.spec import RESUME_MODES
from job.run import attempts
from job.storage.retry import retrying
from job.storage.store import ObjectMissing
from job.training.context import RunContext
from job.training.identity import check_identity

log = logging.getLogger("dcgan.training")

T = TypeVar("T")
_MAX_READS = 3  # of a damaged part: a store may lag, and a byte may flip on the way
_PAUSE_SECONDS = 1.0


class Restored(NamedTuple):
    """A checkpoint with its verified parts; ``is_own`` if it is in this run's folder."""

    manifest: Manifest
    parts: dict[str, bytes]
    is_own: bool = True


class Resume:
    """Restores one worker. The chief's also quarantines damaged checkpoints and counts crashes."""

    def __init__(self, context: RunContext):
        self._context, self._store = context, context.store
        self._resume_from, self._storage = context.spec.checkpoints.resume, context.spec.storage
        self._crashes: CrashCounts | None = None
        if context.topology.is_chief:
            self._crashes = context.retry(
                lambda: CrashCounts(
                    context.store,
                    context.attempt,
                    context.topology.world_size,
                    context.hosts,
                    self._has_crashed,
                )
            )

    def restore(self) -> Restored | None:
        """Return the same checkpoint on every worker, None for a fresh run.

        One collective operation.
        """
        context = self._context
        found = context.retry(self._choose) if context.topology.is_chief else None
        chosen = context.collectives.broadcast_from_chief(
            exists=int(found is not None),
            step=found.manifest.step if found else 0,
            is_own=int(found is not None and found.is_own),
            digest=_digest(found.manifest) if found else 0,
        )
        step = chosen["step"]
        if not chosen["exists"]:
            return None
        restored = found or context.retry(lambda: self._load(step, is_own=bool(chosen["is_own"])))
        if _digest(restored.manifest) != chosen["digest"]:
            raise StorageError(
                f"{context.spec.uri}: worker {context.topology.rank} read another checkpoint of"
                f" step {step} than the chief; expected the same one: do all workers see the same"
                " store?"
            )
        check_identity(context.spec, context.index, restored.manifest, context.spec.uri)
        if self._crashes:
            crashes = self._crashes
            context.retry(lambda: crashes.begin(restored.manifest))
        log.info("resumed", extra={"fields": {"step": step, "digest": f"{chosen['digest']:x}"}})
        return restored

    def mark_succeeded(self) -> None:
        """Clear the crash count: the first train call after the restore succeeded."""
        if self._crashes:
            try:
                self._crashes.mark_succeeded()
            except StorageError as error:
                log.warning("the count of crashes was not cleared: %s", error)

    def _has_crashed(self, stamp: str) -> bool:
        """Return whether the program of ``stamp`` crashed.

        A stop, or an error that names its cause, is not a crash.
        """
        end = attempts.read(self._store, stamp).end
        return end.get("outcome") == "failed" and end.get("exit_code") == 1

    def _choose(self) -> Restored | None:
        """Return the chief's choice: this run's newest good checkpoint, else the origin's."""
        if found := self._newest_good():
            return found
        if self._resume_from in RESUME_MODES:
            return None
        origin = open_origin(self._resume_from, self._storage)
        restored = origin.checkpoints.restore(origin.step, _state_parts)
        if restored is None:
            raise StorageError(
                f"{self._resume_from}: no committed checkpoint there;"
                " expected one (checkpoints.resume)"
            )
        return Restored(*restored, is_own=False)

    def _newest_good(self) -> Restored | None:
        """Return the newest checkpoint that verifies and did not crash the run twice.

        Quarantines damaged ones. If the run crashed right after an older one, too, the checkpoint
        is not the cause, and the newest is taken again.
        """
        checkpoints, damage = Checkpoints(self._store), "no manifest can be read"
        crashed: Restored | None = None
        for _, manifest in checkpoints.readable():
            try:
                found = Restored(manifest, _read_parts(checkpoints, manifest))
            except DamagedPart as error:
                damage = str(error)
                checkpoints.quarantine(manifest, damage)
                continue
            if not self._crashes or not self._crashes.are_too_many(manifest):
                return found
            if crashed:
                log.warning(
                    "the run crashed right after step %d, too: resuming from step %d again",
                    manifest.step,
                    crashed.manifest.step,
                )
                self._crashes.forget()
                return crashed
            log.warning(
                "checkpoint of step %d skipped: the run crashed %d times right after it",
                manifest.step,
                TOO_OFTEN,
            )
            crashed = found
        num_committed = sum(folder.is_committed for folder in checkpoints.folders())
        if num_committed and not crashed:
            raise checkpoints.none_whole(num_committed, damage)
        return crashed

    def _load(self, step: int, *, is_own: bool) -> Restored:
        """Load the checkpoint that the chief chose."""
        checkpoints = (
            Checkpoints(self._store)
            if is_own
            else open_origin(self._resume_from, self._storage).checkpoints
        )

        def load() -> Restored:
            manifest = checkpoints.manifest(step)
            return Restored(manifest, _read_parts(checkpoints, manifest), is_own)

        try:
            return _reread(load, ObjectMissing, BadManifest)
        except (ObjectMissing, BadManifest):
            raise StorageError(
                f"{self._context.spec.uri}: worker {self._context.topology.rank} cannot read the"
                f" checkpoint of step {step}; expected the one the chief read"
            ) from None


def _read_parts(checkpoints: Checkpoints, manifest: Manifest) -> dict[str, bytes]:
    """Return the verified parts of the state; raise ``DamagedPart`` if one stays damaged."""
    return _reread(lambda: checkpoints.read(manifest, _state_parts(manifest)), DamagedPart)


def _reread(read: Callable[[], T], *on: type[Exception]) -> T:
    """Return the result of ``read``; retry a few times on errors ``on``."""
    return retrying(on=on, max_attempts=_MAX_READS, first_wait_seconds=_PAUSE_SECONDS)(read)


def _state_parts(manifest: Manifest) -> list[str]:
    """Return the names of all parts but ``generator.keras``, which training does not need."""
    return [part.name for part in manifest.parts if part.name.endswith(".npz")]


def _digest(manifest: Manifest) -> int:
    """Return 63 bits of a hash of the step and of all parts' sizes and hashes."""
    parts = "".join(f"{part.name} {part.num_bytes} {part.sha256}\n" for part in manifest.parts)
    return (
        int.from_bytes(hashlib.sha256(f"{manifest.step} {parts}".encode()).digest()[:8], "big") >> 1
    )
