"""Saving while training goes on: one background thread that turns a snapshot into a committed checkpoint, however long the store takes.

Knows what a checkpoint is (``Checkpoints``), not what is in it. One save is in flight at a time. Every request is repeated until it works; only
when nothing could be committed for ``checkpoints.fail_after_seconds`` does the run end.

    saver.save(facts, lambda: parts)    # returns at once
    for event in saver.events():        # at every call of K steps, in the training thread
        ...
    saver.finish()
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.checkpoints.retention import Known, prune
from job.config.errors import StorageError
from job.config.spec import CheckpointSpec
from job.config.waits import MAX_SAVE_WAIT_SECONDS
from job.storage.retry import retrying
from job.storage.store import Interrupted

log = logging.getLogger("dcgan.checkpoint")

Outcome = Literal["committed", "skipped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Of a save that was committed: bytes from arrays; the parts to the store; the manifest.
Stage = Literal["pack", "upload", "commit"]
REFUSED = "refused"  # the reason of a failed try whose request was answered, with no
_OFTEN_SECONDS = 30.0  # a store that stays away is reported this often


class Event(NamedTuple):
    """What became of the save of ``step``, or of one try: ``failed`` tries are repeated. ``stages`` are the seconds of a committed one."""

    step: int
    outcome: Outcome
    seconds: float
    num_bytes: int = 0
    reason: str = ""
    stages: Mapping[Stage, float] = MappingProxyType({})


@dataclass(frozen=True)
class _Work:
    facts: Manifest
    parts: Callable[[], Mapping[str, bytes]]
    since: float


class SaveFailed(StorageError):
    """Nothing could be saved for ``checkpoints.fail_after_seconds``."""


class Saver:
    """A context manager; its methods are for the training thread.

    ``fence`` raises where the run folder is no longer ours, just before a manifest is written. A save that is due waits for the one before at most
    ``max_wait_seconds``, because the other workers wait meanwhile.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        spec: CheckpointSpec,
        fence: Callable[[], None] = lambda: None,
        max_wait_seconds: float = MAX_SAVE_WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._checkpoints, self._spec, self._fence, self._clock = checkpoints, spec, fence, clock
        self._max_wait_seconds = max_wait_seconds
        self._changed = threading.Condition()
        self._work: _Work | None = None  # in flight, or about to be
        self._failing = False
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._known: Known = {}
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._saved_at = clock()
        self._thread = threading.Thread(target=self._run, name="checkpoint-saver", daemon=True)

    def __enter__(self) -> "Saver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """What is still in flight is given up: nothing half-written is ever committed."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(
            timeout=5.0
        )  # a request in flight ends with its own timeout; the thread is a daemon

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight."""
        return self._work is None

    def save(self, facts: Manifest, parts: Callable[[], Mapping[str, bytes]]) -> None:
        """Commit ``parts()`` as the checkpoint of ``facts.step`` in the background, where it is computed too.

        With another still in flight this waits, or skips this one, as configured; one that fails at the moment is not waited for, and none for long.
        """
        since = self._clock()
        with self._changed:
            if self._spec.when_busy == "wait":
                self._changed.wait_for(
                    lambda: self._work is None or self._failing, self._max_wait_seconds
                )
            if self._work is not None:
                self._events.put(
                    Event(
                        facts.step,
                        "skipped",
                        0.0,
                        reason=f"the save of step {self._work.facts.step} is still under way",
                    )
                )
                return
            self._work = _Work(facts, parts, since)
            self._changed.notify_all()

    def events(self) -> list[Event]:
        """What happened since the last look. Raises what the saving thread ended with."""
        found = []
        while not self._events.empty():
            found.append(self._events.get_nowait())
        if self._error is not None:
            raise self._error
        return found

    def finish(self, seconds: float | None = None) -> bool:
        """Wait until nothing is in flight, at most ``seconds``; whether that is so."""
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
            except Exception as error:  # the edge of the thread; raised again by ``events``
                self._error = error
            with self._changed:
                self._work, self._failing = None, False
                self._changed.notify_all()

    def _commit(self, work: _Work) -> None:
        begun_at = self._clock()
        parts = work.parts()
        packed_at = fenced_at = self._clock()

        def fence() -> None:
            nonlocal fenced_at
            fenced_at = self._clock()  # the last time is just before the manifest
            self._fence()

        committed = self._checkpoints.save(
            work.facts, parts, lambda request: self._persist(work, request), fence
        )
        self._saved_at = self._clock()
        stages: dict[Stage, float] = {
            "pack": packed_at - begun_at,
            "upload": fenced_at - packed_at,
            "commit": self._saved_at - fenced_at,
        }
        self._events.put(
            Event(
                committed.step,
                "committed",
                self._saved_at - work.since,
                committed.num_bytes,
                stages=stages,
            )
        )
        try:
            prune(self._checkpoints, self._spec, committed.step, self._still_ours, self._known)
        except StorageError as error:  # the next save removes it
            log.warning("old checkpoints were not removed: %s", error)

    def _still_ours(self) -> None:
        if self._closing.is_set():
            raise _Closed
        self._fence()

    def _persist(self, work: _Work, request: Callable[[], object]) -> object:
        """Retry ``request`` until it succeeds, refusals too: people fix keys and permissions meanwhile."""
        logged_at = float("-inf")

        def failing_seconds() -> float:
            return self._clock() - max(self._saved_at, work.since)

        def attempt() -> object:
            if self._closing.is_set():
                raise _Closed
            try:
                result = request()
            except StorageError as error:
                reason = error.reason if isinstance(error, Interrupted) else REFUSED
                self._events.put(
                    Event(work.facts.step, "failed", self._clock() - work.since, reason=reason)
                )
                raise
            self._failing = False
            return result

        def before_wait(error: BaseException) -> None:
            nonlocal logged_at
            if self._clock() - logged_at > _OFTEN_SECONDS:
                logged_at = self._clock()
                step = work.facts.step
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
                f" {attempts.statistics['attempt_number']} tries of this request; expected a save within"
                f" {limit:g} s (checkpoints.fail_after_seconds): {error}"
            ) from error


class _Closed(Exception):
    """The saver is closed while it works."""
