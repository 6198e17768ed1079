"""The faults that ``fault_proxy`` injects, and the rules that choose the requests."""

import enum
import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from math import inf

from tests.servers.http_wire import Head


class Fault(enum.Enum):
    """A fault. Those inside a body need an answer of 2xx with a Content-Length."""

    ERROR_500 = "answered InternalError; the server is not asked"
    ERROR_502 = "answered BadGateway; the server is not asked"
    ERROR_503 = "answered SlowDown; the server is not asked"
    HOLD = "not passed on to the server for a while, then as if nothing had been"
    LOST_ANSWER = "connection reset before any answer, after the server did what was asked"
    RESET = "connection reset inside the body"
    TRUNCATE = "connection ended in order inside the body"
    FLIP = "one bit of the body changed"
    STALL = "silence inside the body, then the rest"


ERRORS = {
    Fault.ERROR_500: (
        500,
        "InternalError",
        "We encountered an internal error. Please try again.",
    ),
    Fault.ERROR_502: (502, "BadGateway", "The server behind the gateway did not answer."),
    Fault.ERROR_503: (503, "SlowDown", "Please reduce your request rate."),
}
WITH_BODY = {Fault.RESET, Fault.TRUNCATE, Fault.FLIP, Fault.STALL}


@dataclass(kw_only=True)
class Rule:
    """The requests that a fault hits, by default each GET. The oldest matching rule applies."""

    fault: Fault
    times: float = inf  # at most
    seconds: float = inf  # from now, or with ``from_first`` from the first request that it hits
    from_first: bool = False
    share: float = 1.0  # 0 to 1: a random share, decided by ``seed``
    seed: int = 0
    match: str = ""  # a part of the path, which is ``/bucket/key``
    methods: Collection[str] = ("GET",)
    at_byte: int | None = None  # of the fault in a body: by default its middle, at most its last
    stall_seconds: float = 1.0  # also of HOLD
    started: float = field(init=False, default_factory=time.monotonic)
    seen: Counter[str] = field(init=False, default_factory=Counter)

    def hits(self, request: Head) -> bool:
        method, path = request.word(0), request.path()
        if self.times <= 0 or method not in self.methods or self.match not in path:
            return False
        if self.from_first and not self.seen:
            self.started = time.monotonic()
        if time.monotonic() - self.started > self.seconds:
            return False
        # The nth request for the same bytes has the same fate in every run, in any bucket.
        what = f"{method} {path.lstrip('/').partition('/')[2]} {request.header('Range')}"
        self.seen[what] += 1
        hit = random.Random(f"{self.seed} {self.seen[what]} {what}").random() < self.share
        self.times -= hit
        return hit

    def whole_bytes(self, num_bytes: int) -> int:
        """Return how many bytes of a body come before the fault."""
        return num_bytes // 2 if self.at_byte is None else min(self.at_byte, num_bytes - 1)
