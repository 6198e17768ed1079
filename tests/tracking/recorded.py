"""A tracking service in memory that can fail and block."""

import threading
from collections.abc import Mapping

from job.tracking.service import Service


class Recorded(Service):
    """Keeps what it is sent as ``calls``; fails the next ``num_failures`` calls.

    A call of the name ``hangs_at`` sets ``hangs`` and returns once ``answers`` is set.
    """

    def __init__(self, num_failures: int = 0, hangs_at: str = "") -> None:
        self.num_failures, self.num_requests = num_failures, 0
        self.calls: list[tuple[object, ...]] = []
        self.hangs_at, self.hangs, self.answers = hangs_at, threading.Event(), threading.Event()
        self.is_abandoned = False

    def begin(self, run_id: str | None) -> str:
        self._request("begin", run_id)
        return run_id or "0a1b"

    def describe(self) -> None:
        self._request("describe")

    def log(self, step: int, time: float, values: Mapping[str, float]) -> None:
        self._request("log", step, time, values)

    def log_grid(self, step: int, png: bytes) -> None:
        self._request("grid", step, png)

    def tag(self, tags: Mapping[str, str]) -> None:
        self._request("tag", tags)

    def end(self, status: str) -> None:
        self._request("end", status)

    def abandon(self) -> None:
        self.is_abandoned = True

    def _request(self, *call: object) -> None:
        self.num_requests += 1
        if call[0] == self.hangs_at:
            self.hangs.set()
            self.answers.wait(60)
        if self.num_failures:
            self.num_failures -= 1
            raise ConnectionError("the service\nis away")
        self.calls.append(call)
