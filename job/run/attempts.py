"""Attempts: one record for each time the program is started, ``starts/TIME.json``.

It has the first step, the machine and the outcome. An attempt without an outcome was killed, or
runs. (``job.checkpoints.crash_counts`` counts crashes after a restore.)
"""

import datetime
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from job.data.json_fields import read_object
from job.run.layout import STAMP, STARTS, start_key
from job.run.stored_json import as_object
from job.storage.store import ObjectStore
from job.telemetry.logs import plain

Outcome = Literal["done", "stopped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
MAX_REASON = 4000


class Attempt:
    """The attempt of this process; ``stamp`` names it."""

    def __init__(self, store: ObjectStore, time: datetime.datetime, facts: Mapping[str, Any]):
        self._store, self._key, self._facts = store, start_key(time), dict(facts)
        self.stamp = f"{time:{STAMP}}"

    def end(self, outcome: Outcome, why: str = "", exit_code: int | None = 0) -> None:
        """Write the outcome; ``exit_code`` is None if it is not known yet."""
        self._facts["end"] = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "outcome": outcome,
            "why": why[:MAX_REASON],
            "exit_code": exit_code,
        }
        self.write()

    def write(self) -> None:
        """Write the record."""
        self._store.write(self._key, json.dumps(plain(self._facts), indent=2).encode())


class AttemptRecord(NamedTuple):
    """An attempt as stored; the reader checks ``facts``."""

    stamp: str
    facts: dict[str, Any]

    @property
    def end(self) -> dict[str, Any]:
        """The outcome; empty if the attempt was killed or runs."""
        end = as_object(self.facts.get("end"))
        return end if end.get("outcome") in OUTCOMES else {}


def begin(store: ObjectStore, facts: Mapping[str, Any]) -> Attempt:
    """Write a new attempt. Its name is later than all before, even if this clock is behind."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    for stamp in stamps(store)[-1:]:
        before = datetime.datetime.strptime(stamp, STAMP).replace(tzinfo=datetime.UTC)
        now = max(now, before + datetime.timedelta(seconds=1))
    attempt = Attempt(store, now, {"time": now.isoformat(timespec="seconds"), **facts})
    attempt.write()
    return attempt


def stamps(store: ObjectStore) -> list[str]:
    """Return the stamps of all attempts in order."""
    found = (
        entry.key.removeprefix(STARTS).removesuffix(".json")
        for entry in store.list(STARTS)
        if entry.key.endswith(".json")
    )
    return sorted(stamp for stamp in found if _is_stamp(stamp))


def read(store: ObjectStore, stamp: str) -> AttemptRecord:
    """Return one attempt; without facts if they cannot be read."""
    return AttemptRecord(stamp, read_object(store, f"{STARTS}{stamp}.json"))


def _is_stamp(text: str) -> bool:
    try:
        datetime.datetime.strptime(text, STAMP)
    except ValueError:
        return False
    return True
