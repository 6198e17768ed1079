"""A set of generated images in a store: begun with its plan, made part by part, finished once.

    generation.json                        the plan, written first; at the end also the parts
    shard-000000000-000008191.tar          one part: the images 0 ... 8191, written whole
    parts/shard-000000000-000008191.json   its files and their SHA-256: the part is committed
    index.json, README.md, croissant.json  written at the end; parts/ is then deleted

A part is a pure function of the plan, so one that was written but not committed is written again
with the same bytes. A second run of the same plan makes only what is missing; another plan is
refused. Knows no tensor and no format.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from job.config.errors import ConfigError, StorageError
from job.data.index import FileName
from job.data.json_fields import Items, Sha256, Whole, WrongField, parse_object, validate_fields
from job.storage.store import ObjectMissing, ObjectStore
from job.synthesis.plan import MAX_PARTS, IndexRange, Plan, difference, plan_of

PLAN_KEY = "generation.json"
_RECORDS = "parts/"
_VERSION = 1
_MAX_BYTES = 64 << 20  # of generation.json with all parts
_MAX_RECORD_BYTES = 1 << 16
_REMEDY = "choose another --out, or repeat the arguments of the first run"


@dataclass(frozen=True)
class PartFile:
    """One file of a part."""

    name: FileName
    num_bytes: Annotated[int, Whole(0)]
    sha256: Sha256


@dataclass(frozen=True)
class PartRecord:
    """A committed part: its images and files."""

    start: Annotated[int, Whole(0)]
    stop: Annotated[int, Whole(1)]
    files: Items[PartFile]


@dataclass(frozen=True)
class _Parts:
    parts: Items[PartRecord] = ()


def find_plan(store: ObjectStore) -> Plan | None:
    """Return the plan of the images begun at ``store``; None if it is empty.

    ``ConfigError`` if it holds anything else: generated images are not mixed with other files.
    """
    fields = _read_plan(store)
    if fields is not None:
        return _validated(store, fields)[0]
    if (other := next(iter(store.list()), None)) is not None:
        raise ConfigError(
            f"{store.uri} holds {other.key} already; expected an empty folder, or one that this"
            " command began: choose another --out"
        )
    return None


def check_plan(store: ObjectStore, found: Plan, wanted: dict[str, Any]) -> None:
    """Raise ``ConfigError`` naming the first argument of ``wanted`` that ``found`` was not."""
    if (what := difference(found, wanted)) is not None:
        raise ConfigError(f"{store.uri} was begun with {what}; {_REMEDY}")


def begin(store: ObjectStore, plan: Plan) -> list[IndexRange]:
    """Write the plan, or compare it with the one found, and return the parts to make."""
    if (found := find_plan(store)) is None:
        store.write(PLAN_KEY, _to_json(plan))
        found = find_plan(store) or plan  # another process may have been later
    check_plan(store, found, dataclasses.asdict(plan))
    done = {(record.start, record.stop) for record in committed(store)}
    return [part for part in plan.parts() if part not in done]


def commit(store: ObjectStore, part: IndexRange, paths: Iterable[Path]) -> None:
    """Upload the part's local files, then its record."""
    files = []
    for path in paths:
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        files.append(PartFile(path.name, path.stat().st_size, sha256))
        store.upload(path, path.name)
    record = PartRecord(part.start, part.stop, tuple(files))
    store.write(_record_key(part), json.dumps(dataclasses.asdict(record)).encode())


def committed(store: ObjectStore) -> list[PartRecord]:
    """Return the records of all committed parts whose files are there, in order of index."""
    sizes = {entry.key: entry.num_bytes for entry in store.list()}
    fields = _read_plan(store)
    records = {} if fields is None else {each.start: each for each in _validated(store, fields)[1]}
    for key in sizes:
        if key.startswith(_RECORDS) and (record := _read_record(store, key)) is not None:
            records[record.start] = record
    return [
        record
        for _, record in sorted(records.items())
        if all(sizes.get(file.name) == file.num_bytes for file in record.files)
    ]


def check_parts(store: ObjectStore, plan: Plan, records: Sequence[PartRecord]) -> None:
    """Raise ``StorageError`` unless the parts hold every index of the plan once."""
    expected = plan.start
    for record in records:
        if record.start != expected:
            break
        expected = record.stop
    if expected != plan.stop:
        raise StorageError(
            f"{store.uri}: the part from image {expected} on is missing; expected"
            f" {plan.start} ... {plan.stop - 1}: run the same command again"
        )


def finish(store: ObjectStore, plan: Plan, records: Sequence[PartRecord]) -> None:
    """Write ``generation.json`` with all parts and delete their records."""
    store.write(PLAN_KEY, _to_json(plan, records))
    for entry in list(store.list(_RECORDS)):
        store.delete(entry.key)


def is_finished(store: ObjectStore) -> bool:
    """Return whether ``generation.json`` already lists the parts."""
    return "parts" in (_read_plan(store) or {})


def _record_key(part: IndexRange) -> str:
    return f"{_RECORDS}{part.name}.json"


def _to_json(plan: Plan, records: Sequence[PartRecord] | None = None) -> bytes:
    fields: dict[str, Any] = {"format_version": _VERSION, **dataclasses.asdict(plan)}
    if records is not None:
        fields["parts"] = [dataclasses.asdict(record) for record in records]
    return (json.dumps(fields, indent=2) + "\n").encode()


def _read_plan(store: ObjectStore) -> dict[str, Any] | None:
    try:
        data = store.read_range(PLAN_KEY, 0, _MAX_BYTES + 1)
    except ObjectMissing:
        return None
    try:
        return parse_object(data, _MAX_BYTES, _VERSION)
    except WrongField as error:
        raise _bad_plan(store, error) from None


def _validated(store: ObjectStore, fields: dict[str, Any]) -> tuple[Plan, tuple[PartRecord, ...]]:
    try:
        return plan_of(fields), validate_fields(_Parts, fields).parts[:MAX_PARTS]
    except WrongField as error:
        raise _bad_plan(store, error) from None


def _bad_plan(store: ObjectStore, error: WrongField) -> ConfigError:
    return ConfigError(
        f"{store.uri}/{PLAN_KEY}: {error}; expected the plan of generated images: choose another"
        " --out"
    )


def _read_record(store: ObjectStore, key: str) -> PartRecord | None:
    """Return a part's record; None if it is not valid: the part is then made again."""
    try:
        data = store.read_range(key, 0, _MAX_RECORD_BYTES + 1)
        return validate_fields(PartRecord, parse_object(data, _MAX_RECORD_BYTES))
    except (WrongField, ObjectMissing):
        return None
