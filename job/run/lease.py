"""The lease on a run folder: two jobs never train into it at the same time.

    with acquire(store, spec.checkpoints.lease_seconds, note=view.note) as lease:
        start(lease.token)    # the chief calls check_holder(store, token) before each manifest
        lease.check()         # now and then: LeaseLost ends the job

``lease.json`` names the holder (``job.run.holder``). If two jobs write it, a conditional write lets
one win. The holder renews it three times within its ``seconds``. Another job watches the file for
as long, by its own clock: if it changes, the holder lives; if not, the other job takes it over
(Gray and Cheriton 1989, "Leases"). Clocks need not agree. Knows no checkpoints, workers or Ray.
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
from job.run.layout import LEASE
from job.storage.store import Interrupted, ObjectMissing, ObjectStore

CLOSE_SECONDS = 5.0  # for the release: a store out of reach must not delay the end of a job
_PROBE = "lease-probe/plain"
_MAX_POLL_SECONDS = 5.0
_NO_TAG = "0" * 32
_RENEWAL_ATTEMPTS = 3

log = logging.getLogger("dcgan.lease")


class LeaseHeld(ConfigError):
    """Another job trains into the run folder."""


class LeaseLost(ConfigError):
    """Another job took the run folder over.

    Not a ``StorageError``, which would be retried. The user decides which of the jobs continues.
    """


class _Seen(NamedTuple):
    """The lease at one moment. A write on condition of ``tag`` replaces this ``holder`` only."""

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
    """Take the run folder ``store`` for this process, until ``close`` or ``seconds`` after a crash.

    Raise ``LeaseHeld`` if its holder lives and does not end within ``wait_seconds``, ``BadLease``
    if ``lease.json`` is not a lease, ``ConfigError`` if the store has no conditional writes. A
    holder that may be dead is watched for the seconds of its lease. ``note`` gets a line when this
    or the wait begins. A request with its retries should end well within ``seconds``.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(
            f"checkpoints.lease_seconds is {seconds:g}; expected more than 0 and at most"
            f" {MAX_SECONDS:.0f}, or 0 for no lease"
        )
    holder = new_holder(seconds)
    watched: Holder | None = None
    watched_since = 0.0
    deadline: float | None = None
    while True:
        seen, tag = _read(store), None
        if seen is None:
            tag = _take(store, holder, None)
        elif is_gone(seen.holder) or (
            seen.holder == watched and clock() - watched_since >= watched.seconds
        ):
            tag = _take(store, holder, seen.tag)
        elif watched is None:
            watched, watched_since = seen.holder, clock()
            note(
                f"{_uri(store)}: held by {watched}; waiting up to {watched.seconds:g} s to see if"
                " its holder still lives"
            )
        elif seen.holder != watched:
            if deadline is None:
                deadline = clock() + wait_seconds
                if wait_seconds:
                    note(
                        f"{_uri(store)}: {seen.holder} trains into this run folder; waiting up to"
                        f" {wait_seconds:g} s for it to end"
                    )
            if clock() >= deadline:
                raise LeaseHeld(
                    f"{store.uri}: another job trains into this run folder: {seen.holder}; expected"
                    " none. Stop that job, or choose another run folder (uri). The lease expires"
                    f" {seen.holder.seconds:g} s after its holder died"
                )
            watched, watched_since = seen.holder, clock()
        if tag is not None:
            if seen is not None:
                log.info(
                    "run folder taken over from a job that died without releasing its lease: %s",
                    seen.holder,
                )
            return Lease(store, holder, tag)
        sleep(min((watched or holder).seconds / 12, _MAX_POLL_SECONDS))


def check_holder(store: ObjectStore, token: str) -> None:
    """Raise ``LeaseLost`` unless ``token`` holds the run folder: the check before a commit."""
    _tag_of(store, token)


class Lease:
    """A held run folder, made by ``acquire``. A thread renews it until ``close``."""

    def __init__(self, store: ObjectStore, holder: Holder, tag: str) -> None:
        self._store, self._holder, self._tag = store, holder, tag
        self._lost: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> str:
        """The token for ``check_holder``."""
        return self._holder.token

    @property
    def lost(self) -> str | None:
        """The message of ``LeaseLost``; None while this process holds the run folder."""
        return self._lost

    def check(self) -> None:
        """Raise ``LeaseLost`` if the run folder is lost."""
        if self._lost is not None:
            raise LeaseLost(self._lost)

    def close(self) -> None:
        """Release the run folder if the store can be reached. Raises nothing."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            uri, seconds = _uri(self._store), self._holder.seconds
            log.warning("%s: not released in %g s; expires in %g s", uri, CLOSE_SECONDS, seconds)

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
        """Run the thread: only it writes."""
        outage, pause_seconds = False, self._holder.seconds / 3
        while not self._closing.wait(pause_seconds):
            try:
                self._renew()
            except StorageError as error:
                if not outage:
                    log.warning("lease not renewed, retrying: %s", error)
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
        """Renew it, then delete it: there is no conditional delete, and a renewed lease is safe."""
        try:
            self._renew()
            self._store.delete(LEASE)
        except StorageError as error:
            log.warning("lease not released, expires in %g s: %s", self._holder.seconds, error)
        except LeaseLost as error:
            self._lost = str(error)
            log.error("%s", error)

    def _renew(self) -> None:
        """Rewrite the lease; raise ``LeaseLost`` if another job has it.

        After a ``StorageError`` it is unknown whether the write succeeded.
        """
        for _ in range(_RENEWAL_ATTEMPTS):
            self._holder = self._holder.again()
            tag = self._store.write_if(LEASE, self._holder.to_json(), self._tag)
            if tag is not None:
                self._tag = tag
                return
            # This process wrote it, but the answer was lost.
            self._tag = _tag_of(self._store, self.token)
        raise StorageError(
            f"{_uri(self._store)}: the store refuses to replace an object that this job wrote;"
            " expected success with its own tag"
        )


def _uri(store: ObjectStore) -> str:
    return f"{store.uri.rstrip('/')}/{LEASE}"


def _read(store: ObjectStore) -> _Seen | None:
    """Return the lease, or None. The tag is read first: a write on it replaces this content."""
    info = store.stat(LEASE)
    if info is None:
        return None
    try:
        data = store.read_range(LEASE, 0, MAX_BYTES + 1)
    except ObjectMissing:  # released in between
        return None
    return _Seen(info.etag, parse_holder(data, _uri(store)))


def _tag_of(store: ObjectStore, token: str) -> str:
    """Return the tag of the lease; ``LeaseLost`` if it does not have this token."""
    try:
        seen = _read(store)
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
        f"{store.uri}: this job has lost the run folder: {found}; expected to be the only one."
        " Its checkpoints stay. Make sure that one job alone uses the folder and start it again,"
        " or choose another run folder (uri)"
    )


def _take(store: ObjectStore, holder: Holder, tag: str | None) -> str | None:
    """Return the new tag, or None if another job was faster.

    Raise ``ConfigError``, with nothing left behind, if the store has no conditional writes.
    """
    taken, found = None, None
    data = holder.to_json()
    try:
        taken = store.write_if(LEASE, data, tag)
        # Some stores ignore the condition. Neither may succeed: the object has another tag.
        if taken is not None and any(
            store.write_if(LEASE, data, wrong) is not None for wrong in (None, _NO_TAG)
        ):
            found = "ignores the condition of a conditional write (If-None-Match, If-Match)"
    except Interrupted:
        raise
    except StorageError as error:
        if not _takes_plain_writes(store):  # the condition is not the cause
            raise
        found = f"refuses conditional writes and takes others ({error})"
    if found is None:
        return taken
    if taken is not None:
        store.delete(LEASE)
    raise ConfigError(
        f"{store.uri}: the store {found}; expected one that lets a single writer win. Choose such a"
        " store for uri, or set checkpoints.lease_seconds to 0 (no lease) and make sure yourself"
        " that no two jobs use this run folder"
    )


def _takes_plain_writes(store: ObjectStore) -> bool:
    try:
        store.write(_PROBE, b"")
        store.delete(_PROBE)
    except StorageError:
        return False
    return True
