"""How hard to press a store: how many requests at once, how long to wait before the next try, how long to go on without an answer.

Pure arithmetic and one lock; time and chance are given. Additive increase and multiplicative decrease as in TCP (Chiu, Jain 1989); waits doubled
and spread at random, so that workers that failed together do not come back together.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CALM_SECONDS = (
    1.0  # requests that were under way together are told to slow down together; that counts once
)


class Pace:
    """At most ``most`` requests at once; half as many after each word to slow down, then gradually more again. Threads share one."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = float(most)
        self._most = most
        self._clock = clock
        self._running = 0
        self._slowed_at = float("-inf")
        self._changed = threading.Condition()

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Wait until one more request may run, and count it while it does."""
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
        """No limit any more: whoever waits goes on at once, to find that it is over."""
        with self._changed:
            self.limit = float("inf")
            self._changed.notify_all()

    def slow_down(self) -> None:
        """The server asked for fewer requests."""
        with self._changed:
            if self._clock() - self._slowed_at >= _CALM_SECONDS:
                self._slowed_at = self._clock()
                self.limit = max(1.0, self.limit / 2)

    def mark_succeeded(self) -> None:
        """A request succeeded; one more at once is tried after about as many successes as run at once now."""
        with self._changed:
            if self.limit < self._most:  # not after ``open``
                self.limit = min(float(self._most), self.limit + 1 / self.limit)
                self._changed.notify_all()
