"""The records that a run stored, in the order of their segments."""

import json
from typing import Any

from job.storage.store import ObjectStore

FIRST = "20260102T030000Z"  # the name of an attempt


def stored_lines(store: ObjectStore, prefix: str) -> list[bytes]:
    return b"".join(store.read(entry.key) for entry in store.list(prefix)).splitlines()


def stored_rows(store: ObjectStore, prefix: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stored_lines(store, prefix)]
