"""Try each right that a run needs on its stores, with small objects that are deleted again.

Rights one by one: a policy can allow any of them alone. The clock and the checksum mode of S3, too.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from functools import partial

from job.config.errors import ConfigError, DcganError, StorageError
from job.config.spec import RunSpec
from job.config.waits import LOOP_ATTEMPTS
from job.data.index import read_index
from job.doctor.check import Check, check, failed, unchecked
from job.storage.s3 import S3Store
from job.storage.server_clock import MAX_OFFSET_SECONDS, clock_offset
from job.storage.store import Interrupted, ObjectStore
from job.storage.uri import open_store

DATA = b"0123456789abcdef"
_WRONG_TAG = "0" * 32
_DENIED = ": access denied ("  # job.storage.s3_errors
_WARN_OFFSET_SECONDS = 60.0


def run_folder_checks(spec: RunSpec) -> Iterator[Check]:
    """Yield a check for each right on the run folder, and for the checksum mode of S3."""
    store = open_store(spec.uri, spec.storage, max_attempts=LOOP_ATTEMPTS)
    key = f"doctor-{uuid.uuid4().hex}"
    is_done = False
    try:
        yield from _run_folder_checks(spec, store, key)
        is_done = True
    finally:
        if not is_done:  # interrupted: what was written must not stay
            for ending in ("", "-if", "-parts", "-checksums"):
                _delete_quietly(store, key + ending)


def _run_folder_checks(spec: RunSpec, store: ObjectStore, key: str) -> Iterator[Check]:
    first, interrupted = _right("run folder list", store, "s3:ListBucket", lambda: _list(store))
    yield first
    if interrupted:
        yield unchecked("run folder other rights", "the store does not respond", first.advice)
        return
    written, _ = _right("run folder write", store, "s3:PutObject", lambda: _write(store, key))
    yield written
    if isinstance(store, S3Store):
        yield from _checksums(spec, f"{key}-checksums", is_written=written.state == "ok")
    if written.state == "error":
        yield unchecked("run folder other rights", "nothing could be written", written.advice)
        return
    rights: list[tuple[str, str, Callable[[], str]]] = [
        ("read", "s3:GetObject", partial(_read, store, key)),
        ("ranged read", "s3:GetObject", partial(_read_range, store, key)),
    ]
    if spec.checkpoints.lease_seconds:  # else nothing needs it
        conditional = partial(_write_if, store, f"{key}-if")
        rights.append(("conditional write", "s3:PutObject", conditional))
    if isinstance(store, S3Store):
        parts = partial(_write_in_parts, store, f"{key}-parts")
        rights.append(("multipart write", "s3:PutObject and s3:AbortMultipartUpload", parts))
    rights.append(("delete", "s3:DeleteObject", partial(_delete, store, key)))
    for name, permission, attempt in rights:
        yield _right(f"run folder {name}", store, permission, attempt)[0]


def data_checks(spec: RunSpec) -> Iterator[Check]:
    """Yield a check for each right on the packed data, which are only read."""
    store = open_store(spec.data.uri, spec.storage, max_attempts=LOOP_ATTEMPTS)

    def read() -> str:
        index = read_index(store)
        height, width, channels = index.image_shape
        return f"{index.num_rows:,} images {height}x{width}x{channels} at {store.uri}"

    def stream() -> str:
        received: list[bytes] = []
        store.stream(read_index(store).shards[0].name, 1, 2, received.append)
        if (found := sum(map(len, received))) != 2:
            raise StorageError(f"{store.uri}: returned {found} bytes; expected the 2 requested")
        return "bytes 1 to 2 of a shard"

    for name, permission, attempt in (
        ("list", "s3:ListBucket", lambda: _list(store)),
        ("index", "s3:GetObject", read),
        ("ranged read", "s3:GetObject", stream),
    ):
        found, _ = _right(f"data {name}", store, permission, attempt)
        yield found
        if found.state == "error" and name != "list":
            return


def clock_checks(spec: RunSpec) -> Iterator[Check]:
    """Yield the check of this machine's clock against the store's, if the run folder is on S3."""
    if spec.uri.startswith("s3://"):
        storage = spec.storage.replace(max_attempts=LOOP_ATTEMPTS)
        yield clock_check(clock_offset(spec.uri, storage))


def clock_check(offset: float | None) -> Check:
    """Return the check of a clock that is ``offset`` seconds ahead of the store's."""
    if offset is None:
        return unchecked("clock", "the store sent no date", "see the checks of the run folder")
    found = f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} the store's"
    if abs(offset) < 2:  # the header has whole seconds
        found = "the same as the store's"
    advice = (
        f"set the clock (for example with NTP): S3 refuses requests that are"
        f" {MAX_OFFSET_SECONDS:.0f} s apart"
    )
    if abs(offset) > MAX_OFFSET_SECONDS:
        return Check("clock", "error", found, advice, StorageError.exit_code)
    if abs(offset) > _WARN_OFFSET_SECONDS:
        return Check("clock", "warning", found, advice)
    return Check("clock", "ok", found)


def _right(
    name: str, store: ObjectStore, permission: str, attempt: Callable[[], str]
) -> tuple[Check, bool]:
    """Return the check of one right, and if the store did not respond."""
    try:
        return Check(name, "ok", attempt()), False
    except DcganError as error:
        is_denied = isinstance(store, S3Store) and _DENIED in str(error)
        advice = f"allow these credentials {permission} on {store.uri}" if is_denied else ""
        return failed(name, error, advice), isinstance(error, Interrupted)


def _list(store: ObjectStore) -> str:
    return f"{store.uri} {'is empty' if next(store.list(), None) is None else 'has objects'}"


def _write(store: ObjectStore, key: str) -> str:
    store.write(key, DATA)
    return f"{len(DATA)} bytes"


def _read(store: ObjectStore, key: str) -> str:
    if (found := store.read(key)) != DATA:
        raise StorageError(
            f"{store.uri}/{key}: returned {len(found)} other bytes than were written; expected the"
            " same: check the store and the proxies between"
        )
    return f"{len(found)} bytes, as written"


def _read_range(store: ObjectStore, key: str) -> str:
    if (found := store.read_range(key, 4, 8)) != DATA[4:12]:
        raise StorageError(
            f"{store.uri}/{key}: bytes 4 to 11 were requested and {len(found)} others returned;"
            " expected a store with ranged reads: check it and the proxies between"
        )
    return "bytes 4 to 11"


def _write_if(store: ObjectStore, key: str) -> str:
    """Replace an object only with its tag, as the lease of a run folder does."""
    found = "ignores"
    try:
        tag = store.write_if(key, DATA, None)
        winners = [store.write_if(key, DATA, wrong) for wrong in (None, _WRONG_TAG)]
        if tag is not None and not any(winners) and store.write_if(key, DATA, tag) is not None:
            return "one writer wins"
    except Interrupted:
        raise
    except StorageError as error:
        if _DENIED in str(error):
            raise
        found = f"refuses ({error})"
    finally:
        _delete_quietly(store, key)
    raise ConfigError(
        f"{store.uri}: the store {found} the condition of a conditional write (If-None-Match,"
        " If-Match); expected one that lets a single writer win: choose such a store for uri, or"
        " set checkpoints.lease_seconds to 0 (no lease) and make sure yourself that no two jobs use"
        " this run folder"
    )


def _write_in_parts(store: S3Store, key: str) -> str:
    store.write_in_parts(key, DATA)
    _delete_quietly(store, key)
    return "1 part"


def _delete(store: ObjectStore, key: str) -> str:
    store.delete(key)
    if store.stat(key) is not None:
        raise StorageError(
            f"{store.uri}/{key}: is there after it was deleted; expected a store that deletes:"
            " check its retention rules"
        )
    return "the test object"


def _delete_quietly(store: ObjectStore, key: str) -> None:
    """Delete a test object; whether that is allowed has its own check."""
    with contextlib.suppress(StorageError):
        store.delete(key)


def _checksums(spec: RunSpec, key: str, *, is_written: bool) -> Iterator[Check]:
    """Yield the check of ``storage.checksums``, by a write in the other mode."""
    mode = spec.storage.checksums
    other = "when_supported" if mode == "when_required" else "when_required"
    if is_written and mode == "when_supported":
        yield Check("checksums", "ok", f"the store accepts those of {mode}")
        return
    storage = spec.storage.replace(checksums=other)
    store = open_store(spec.uri, storage, max_attempts=LOOP_ATTEMPTS)
    works = check("checksums", lambda: _write(store, key)).state == "ok"
    _delete_quietly(store, key)
    if is_written:
        also = "accepts when_supported, too" if works else "refuses when_supported"
        yield Check("checksums", "ok", f"{mode} is set; the store {also}")
    elif works:
        yield Check(
            "checksums",
            "error",
            f"storage.checksums is {mode}, which the store refuses; it accepts {other}",
            f"set storage.checksums: {other}",
            ConfigError.exit_code,
        )
