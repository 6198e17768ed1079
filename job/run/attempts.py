"""``starts/TIME.json``: each start of the program, from which step, on what, and how it ended. One without an end was killed, or runs.

Written by the program that starts the workers; read by ``status`` and the report. (Not the counts of ``job.checkpoints.crash_counts``, by which a
checkpoint that ends every start is found.)
"""

import datetime
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from job.run.layout import STAMP, STARTS, start_key
from job.storage.store import ObjectMissing, ObjectStore
from job.telemetry.logs import plain

Outcome = Literal["done", "stopped", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
MAX_BYTES = 1 << 20
MAX_WHY = 4000


class Start:
    """A start of this process; ``stamp`` names it."""

    def __init__(self, store: ObjectStore, time: datetime.datetime, told: Mapping[str, Any]):
        self._store, self._key, self._told = store, start_key(time), dict(told)
        self.stamp = f"{time:{STAMP}}"

    def end(self, outcome: Outcome, why: str = "", exit_code: int | None = 0) -> None:
        """Write down how it ended; the exit code is None where this is told before it is known."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._told["end"] = {
            "time": now,
            "outcome": outcome,
            "why": why[:MAX_WHY],
            "exit_code": exit_code,
        }
        self.write()

    def write(self) -> None:
        """As it stands."""
        self._store.write(self._key, json.dumps(plain(self._told), indent=2).encode())


class AttemptRecord(NamedTuple):
    """What was written of a start; ``facts`` are checked by whoever reads them."""

    stamp: str
    facts: dict[str, Any]

    @property
    def end(self) -> dict[str, Any]:
        """How it ended; empty where it was killed, or runs."""
        end = self.facts.get("end")
        return end if isinstance(end, dict) and end.get("outcome") in OUTCOMES else {}


def begin(store: ObjectStore, facts: Mapping[str, Any]) -> Start:
    """Write down that the program starts. Its name is later than those of all starts before, whatever the clock of this machine says."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    for stamp in stamps(store)[-1:]:
        before = datetime.datetime.strptime(stamp, STAMP).replace(tzinfo=datetime.UTC)
        now = max(now, before + datetime.timedelta(seconds=1))
    start = Start(store, now, {"time": now.isoformat(timespec="seconds"), **facts})
    start.write()
    return start


def stamps(store: ObjectStore) -> list[str]:
    """Of all starts, in their order."""
    found = (
        entry.key.removeprefix(STARTS).removesuffix(".json")
        for entry in store.list(STARTS)
        if entry.key.endswith(".json")
    )
    return sorted(stamp for stamp in found if _is_stamp(stamp))


def read(store: ObjectStore, stamp: str) -> AttemptRecord:
    """One start; without facts where they cannot be read."""
    try:
        facts = json.loads(store.read_range(f"{STARTS}{stamp}.json", 0, MAX_BYTES))
    except (ObjectMissing, ValueError, RecursionError):
        facts = {}
    return AttemptRecord(stamp, facts if isinstance(facts, dict) else {})


def _is_stamp(text: str) -> bool:
    try:
        datetime.datetime.strptime(text, STAMP)
    except ValueError:
        return False
    return True
