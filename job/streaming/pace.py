"""The limit of simultaneous requests to a store.

Additive increase and multiplicative decrease, as in TCP (Chiu, Jain 1989). How long requests are
retried is the concern of ``job.storage.retry``.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CALM_SECONDS = 1.0  # requests in flight together are throttled together, which counts once


class Pace:
    """At most ``max_requests`` at once; half as many after each "slow down", then gradually more.

    Threads share one.
    """

    def __init__(self, max_requests: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = float(max_requests)
        self._max_requests = max_requests
        self._clock = clock
        self._running = 0
        self._slowed_at = float("-inf")
        self._changed = threading.Condition()

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Wait until one more request may run, and count it while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._running + 1 <= self.limit)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def open(self) -> None:
        """Remove the limit, so that waiting threads find out that the fetcher is closed."""
        with self._changed:
            self.limit = float("inf")
            self._changed.notify_all()

    def slow_down(self) -> None:
        """Halve the limit: the server asked for fewer requests."""
        with self._changed:
            if self._clock() - self._slowed_at >= _CALM_SECONDS:
                self._slowed_at = self._clock()
                self.limit = max(1.0, self.limit / 2)

    def mark_succeeded(self) -> None:
        """Count a success; as many successes as the limit raise it by about one."""
        with self._changed:
            if self.limit < self._max_requests:  # not after ``open``
                self.limit = min(float(self._max_requests), self.limit + 1 / self.limit)
                self._changed.notify_all()
