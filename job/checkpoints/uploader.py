"""The upload thread: it commits checkpoints in the background while training continues.

Three layers save: ``job.training.checkpointer`` takes the snapshot in the training loop,
``Uploader`` saves it in a thread, ``Checkpoints.save`` is the protocol on the store. One save is in
flight at a time. Requests are retried; the run fails only if nothing could be committed for
``checkpoints.fail_after_seconds``.

    uploader.save(manifest, lambda: parts)
    for event in uploader.events():    # after every train call, in the training thread
        ...
    uploader.finish()
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from types import MappingProxyType
from typing import NamedTuple

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.checkpoints.retention import Known, prune
from job.config.errors import StorageError
from job.config.spec import CheckpointSpec
from job.config.waits import MAX_SAVE_WAIT_SECONDS
from job.storage.retry import retrying
from job.storage.store import Interrupted
from job.telemetry.checkpoint_metrics import Outcome, Stage

log = logging.getLogger("dcgan.checkpoint")

REFUSED = "refused"  # reason of a failed request that the store answered
_LOG_SECONDS = 30.0  # between two reports of a store that is out of reach


class SaveEvent(NamedTuple):
    """The outcome of a save, or of one request of it: a ``failed`` one is retried.

    ``stages`` are the seconds of a committed save.
    """

    step: int
    outcome: Outcome
    seconds: float
    num_bytes: int = 0
    reason: str = ""
    stages: Mapping[Stage, float] = MappingProxyType({})


@dataclass(frozen=True)
class _Work:
    manifest: Manifest
    parts: Callable[[], Mapping[str, bytes]]
    requested_at: float


class SaveFailed(StorageError):
    """Nothing could be saved for ``checkpoints.fail_after_seconds``."""


class Uploader:
    """Owns the upload thread. A context manager; its methods are for the training thread.

    ``check_owner`` raises if another job has the run folder; it is called before each change of the
    store. A due save waits at most ``max_wait_seconds`` for the one before, because the other
    workers wait, too.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        spec: CheckpointSpec,
        check_owner: Callable[[], None] = lambda: None,
        max_wait_seconds: float = MAX_SAVE_WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._checkpoints, self._spec = checkpoints, spec
        self._check_owner, self._clock = check_owner, clock
        self._max_wait_seconds = max_wait_seconds
        self._changed = threading.Condition()
        self._work: _Work | None = None  # in flight, or about to be
        self._failing = False
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._known: Known = {}
        self._events: SimpleQueue[SaveEvent] = SimpleQueue()
        self._saved_at = clock()
        self._thread = threading.Thread(target=self._run, name="checkpoint-upload", daemon=True)

    def __enter__(self) -> "Uploader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give up a save in flight. Nothing half-written is ever committed."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=5.0)  # a daemon; a request in flight has its own timeout

    @property
    def is_idle(self) -> bool:
        """No save is in flight."""
        return self._work is None

    def save(self, manifest: Manifest, parts: Callable[[], Mapping[str, bytes]]) -> None:
        """Compute ``parts()`` and commit them in the background, as step ``manifest.step``.

        With another save in flight, wait for it or skip this one (``checkpoints.when_busy``). A
        failing save is not waited for.
        """
        requested_at = self._clock()
        with self._changed:
            if self._spec.when_busy == "wait":
                self._changed.wait_for(
                    lambda: self._work is None or self._failing, self._max_wait_seconds
                )
            if self._work is not None:
                self._events.put(
                    SaveEvent(
                        manifest.step,
                        "skipped",
                        0.0,
                        reason=f"the save of step {self._work.manifest.step} is still under way",
                    )
                )
                return
            self._work = _Work(manifest, parts, requested_at)
            self._changed.notify_all()

    def events(self) -> list[SaveEvent]:
        """Return the events since the last call. Raise the error that ended the upload thread."""
        found = []
        while not self._events.empty():
            found.append(self._events.get_nowait())
        if self._error is not None:
            raise self._error
        return found

    def finish(self, seconds: float | None = None) -> bool:
        """Wait at most ``seconds`` until no save is in flight; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._work is None, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work is not None or self._closing.is_set())
                work = self._work
            if self._closing.is_set() or work is None:
                return
            try:
                self._commit(work)
            except _Closed:
                return
            except Exception as error:  # edge of the thread; ``events`` raises it again
                self._error = error
            with self._changed:
                self._work, self._failing = None, False
                self._changed.notify_all()

    def _commit(self, work: _Work) -> None:
        begun_at = self._clock()
        parts = work.parts()
        packed_at = checked_at = self._clock()

        def check_owner() -> None:
            nonlocal checked_at
            checked_at = self._clock()  # the last time is just before the manifest
            self._check_owner()

        committed = self._checkpoints.save(
            work.manifest, parts, lambda request: self._persist(work, request), check_owner
        )
        self._saved_at = self._clock()
        stages: dict[Stage, float] = {
            "pack": packed_at - begun_at,
            "upload": checked_at - packed_at,
            "commit": self._saved_at - checked_at,
        }
        self._events.put(
            SaveEvent(
                committed.step,
                "committed",
                self._saved_at - work.requested_at,
                committed.num_bytes,
                stages=stages,
            )
        )
        try:
            prune(self._checkpoints, self._spec, committed.step, self._check_open, self._known)
        except StorageError as error:  # the next save removes them
            log.warning("old checkpoints were not removed: %s", error)

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise _Closed
        self._check_owner()

    def _persist(self, work: _Work, request: Callable[[], object]) -> object:
        """Retry ``request`` until it succeeds, refusals too: keys and permissions get fixed."""
        logged_at = float("-inf")

        def failing_seconds() -> float:
            return self._clock() - max(self._saved_at, work.requested_at)

        def attempt() -> object:
            if self._closing.is_set():
                raise _Closed
            try:
                result = request()
            except StorageError as error:
                reason = error.reason if isinstance(error, Interrupted) else REFUSED
                self._events.put(
                    SaveEvent(
                        work.manifest.step,
                        "failed",
                        self._clock() - work.requested_at,
                        reason=reason,
                    )
                )
                raise
            self._failing = False
            return result

        def before_wait(error: BaseException) -> None:
            nonlocal logged_at
            if self._clock() - logged_at > _LOG_SECONDS:
                logged_at = self._clock()
                step = work.manifest.step
                log.warning("checkpoint of step %d is not saved yet, retrying: %s", step, error)
            with self._changed:
                self._failing = True
                self._changed.notify_all()

        limit = self._spec.fail_after_seconds
        attempts = retrying(
            lambda: failing_seconds() > limit,
            on=StorageError,
            before_wait=before_wait,
            sleep=self._closing.wait,
        )
        try:
            return attempts(attempt)
        except StorageError as error:
            raise SaveFailed(
                f"nothing was saved for {failing_seconds():.0f} s, after"
                f" {attempts.statistics['attempt_number']} tries of this request; expected a save"
                f" within {limit:g} s (checkpoints.fail_after_seconds): {error}"
            ) from error


class _Closed(Exception):
    """The uploader was closed during a save."""
