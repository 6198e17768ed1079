"""The lease on a run folder: two jobs never train into it at the same time.

    with acquire(store, spec.checkpoints.lease_seconds, note=view.note) as lease:
        start(lease.token)    # to the worker that commits: check_holder(store, token) before each manifest
        lease.check()         # now and then: LeaseLost ends the job

``lease.json`` says who holds the folder (``holder``); a conditional write decides who wins. The holder writes it anew every third of its seconds.
Whoever else wants it watches for all of them, on a clock of their own, so that clocks need not agree: it changes, and the holder lives; or it
does not, and it is taken over (Gray and Cheriton 1989, "Leases"). Knows nothing of checkpoints, workers or Ray.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from job.config.errors import ConfigError, StorageError
from job.run.holder import (
    MAX_BYTES,
    MAX_SECONDS,
    BadLease,
    Holder,
    is_gone,
    new_holder,
    parse_holder,
)
from job.storage.store import Interrupted, ObjectMissing, ObjectStore

KEY = "lease.json"
CLOSE_SECONDS = (
    5.0  # for the release; a store that is out of reach must not hold up the end of a job
)
_PROBE = "lease-probe/plain"
_LONGEST_POLL_SECONDS = 5.0
_NO_TAG = "0" * 32
_RENEWAL_ATTEMPTS = 3

log = logging.getLogger("dcgan.lease")


class LeaseHeld(ConfigError):
    """Another job trains into the run folder."""


class LeaseLost(ConfigError):
    """Another job took the run folder over.

    No ``StorageError``: whoever saves waits for an outage to end and tries again, and must not do so here. Like ``LeaseHeld`` it is for the
    user to decide which job goes on.
    """


class _Seen(NamedTuple):
    """The lease at one moment. A write on condition of ``tag`` wins only where ``holder`` is what it replaces."""

    tag: str
    holder: Holder


def acquire(
    store: ObjectStore,
    seconds: float,
    *,
    wait_seconds: float = 0.0,
    note: Callable[[str], object],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> "Lease":
    """Take the run folder ``store`` for this process; it stays taken until ``close``, and ``seconds`` after this process died.

    ``LeaseHeld`` where its holder lives and has not ended within ``wait_seconds``, ``BadLease`` where ``lease.json`` is none of ours,
    ``ConfigError`` where the store has no conditional writes. A holder that may be dead is watched for the seconds of its lease; ``note`` gets
    a line when that or waiting begins. A request of this store should end, retries and all, well within ``seconds``.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(
            f"checkpoints.lease_seconds is {seconds:g}; expected more than 0 and at most {MAX_SECONDS:.0f}, or 0 for no lease"
        )
    mine = new_holder(seconds)
    watched: Holder | None = None
    watched_since = 0.0
    deadline: float | None = None
    while True:
        seen, taken = _look(store), None
        if seen is None:
            taken = _take(store, mine, None)
        elif is_gone(seen.holder) or (
            seen.holder == watched and clock() - watched_since >= watched.seconds
        ):
            taken = _take(store, mine, seen.tag)
        elif watched is None:
            watched, watched_since = seen.holder, clock()
            note(
                f"{_uri(store)}: held by {watched}; waiting up to {watched.seconds:g} s whether its holder still lives"
            )
        elif seen.holder != watched:
            if deadline is None:
                deadline = clock() + wait_seconds
                if wait_seconds:
                    note(
                        f"{_uri(store)}: {seen.holder} trains into this run folder; waiting up to {wait_seconds:g} s for it to end"
                    )
            if clock() >= deadline:
                raise LeaseHeld(
                    f"{store.uri}: another job trains into this run folder: {seen.holder}; expected none. Stop that job, or choose another run"
                    f" folder (uri); it frees itself {seen.holder.seconds:g} s after its holder died"
                )
            watched, watched_since = seen.holder, clock()
        if taken is not None:
            if seen is not None:
                log.info(
                    "run folder taken over from a job that ended without a word: %s", seen.holder
                )
            return Lease(store, mine, taken)
        sleep(min((watched or mine).seconds / 12, _LONGEST_POLL_SECONDS))


def check_holder(store: ObjectStore, token: str) -> None:
    """``LeaseLost`` unless the lease of the run folder is the one of ``token``: the fence before a commit, for any process of the job."""
    _tag_of(store, token)


class Lease:
    """A run folder that is ours, kept by a thread of its own until ``close`` or the end of the block. Made by ``acquire``."""

    def __init__(self, store: ObjectStore, holder: Holder, tag: str) -> None:
        self._store, self._holder, self._tag = store, holder, tag
        self._lost: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """What ``check_holder`` compares."""
        return self._holder.token

    @property
    def lost(self) -> str | None:
        """Who has the run folder now and what to do, or None while it is ours."""
        return self._lost

    def check(self) -> None:
        """``LeaseLost`` when it is."""
        if self._lost is not None:
            raise LeaseLost(self._lost)

    def close(self) -> None:
        """Give the run folder back, as far as the store can be reached; raises nothing."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning(
                "%s: not released within %g s; it frees itself in %g s",
                _uri(self._store),
                CLOSE_SECONDS,
                self._holder.seconds,
            )

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep(self) -> None:
        """The thread: all writing is done here, one after the other."""
        outage, pause_seconds = False, self._holder.seconds / 3
        while not self._closing.wait(pause_seconds):
            try:
                self._renew()
            except StorageError as error:
                if not outage:
                    log.warning("lease not renewed, still trying: %s", error)
                outage, pause_seconds = True, self._holder.seconds / 12
            except LeaseLost as error:
                self._lost = str(error)
                log.error("%s", error)
                return
            else:
                if outage:
                    log.info("lease renewed again")
                outage, pause_seconds = False, self._holder.seconds / 3
        self._release()

    def _release(self) -> None:
        """Delete it, renewed just before: there is no conditional deletion, and so it is nobody else's for all its seconds to come."""
        try:
            self._renew()
            self._store.delete(KEY)
        except StorageError as error:
            log.warning(
                "lease not released, it frees itself in %g s: %s", self._holder.seconds, error
            )
        except LeaseLost as error:
            self._lost = str(error)
            log.error("%s", error)

    def _renew(self) -> None:
        """Write it anew; ``LeaseLost`` where it is another's, however long this process slept or was cut off. ``StorageError``: not known."""
        for _ in range(_RENEWAL_ATTEMPTS):
            self._holder = self._holder.again()
            tag = self._store.write_if(KEY, self._holder.to_json(), self._tag)
            if tag is not None:
                self._tag = tag
                return
            self._tag = _tag_of(
                self._store, self.token
            )  # ours after all: a write of ours whose answer was lost
        raise StorageError(
            f"{_uri(self._store)}: the store refuses to replace what this job wrote itself; expected to win with its own tag"
        )


def _uri(store: ObjectStore) -> str:
    return f"{store.uri.rstrip('/')}/{KEY}"


def _look(store: ObjectStore) -> _Seen | None:
    """The lease, or None where there is none. The tag is asked for first: if it still stands at a later write, what was read was its content."""
    info = store.stat(KEY)
    if info is None:
        return None
    try:
        data = store.read_range(KEY, 0, MAX_BYTES + 1)
    except ObjectMissing:  # released in between
        return None
    return _Seen(info.etag, parse_holder(data, _uri(store)))


def _tag_of(store: ObjectStore, token: str) -> str:
    """The tag of the lease of ``token``; ``LeaseLost`` where there is none of that token."""
    try:
        seen = _look(store)
    except BadLease as error:
        raise LeaseLost(f"this job's lease was overwritten: {error}") from None
    if seen is not None and seen.holder.token == token:
        return seen.tag
    found = (
        "its lease was deleted, by hand or by a job that held it in between"
        if seen is None
        else f"taken over by {seen.holder}"
    )
    raise LeaseLost(
        f"{store.uri}: this job has lost the run folder: {found}; expected to be the only one there. Its checkpoints stay."
        " See that one job alone uses the folder and start it again, or choose another run folder (uri)"
    )


def _take(store: ObjectStore, mine: Holder, tag: str | None) -> str | None:
    """The new tag, or None when another was faster. ``ConfigError``, and nothing left behind, where the store cannot decide who is."""
    taken, found = None, None
    try:
        taken = store.write_if(KEY, mine.to_json(), tag)
        # Some stores take the conditions for headers they need not know. Neither of these may win: there is an object, and of another tag.
        if taken is not None and any(
            store.write_if(KEY, mine.to_json(), wrong) is not None for wrong in (None, _NO_TAG)
        ):
            found = "ignores the condition of a conditional write (If-None-Match, If-Match)"
    except Interrupted:
        raise
    except StorageError as error:
        if not _takes_plain_writes(store):  # then it is not the condition that it refuses
            raise
        found = f"refuses conditional writes and takes others ({error})"
    if found is None:
        return taken
    if taken is not None:
        store.delete(KEY)
    raise ConfigError(
        f"{store.uri}: the store {found}; expected one that lets a single writer win. Choose such a store for uri, or set"
        " checkpoints.lease_seconds to 0 (no lease) and see yourself that no two jobs use this run folder"
    )


def _takes_plain_writes(store: ObjectStore) -> bool:
    try:
        store.write(_PROBE, b"")
        store.delete(_PROBE)
    except StorageError:
        return False
    return True
