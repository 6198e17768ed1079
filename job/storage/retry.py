"""The retry policy of every request to a store: which errors, for how long, with which waits.

Only ``Interrupted`` is retried: the network, a store that fails or is busy, credentials that are
being renewed. A refusal is final. Waits double up to 10 s, half of each at random, so that workers
that failed together do not come back together.

    index = retry(lambda: read_index(store), patience_seconds=300)
"""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from job.storage.store import Interrupted

log = logging.getLogger("dcgan.storage")

T = TypeVar("T")
FIRST_WAIT_SECONDS = 0.1
MAX_WAIT_SECONDS = 10.0


class Deadline:
    """A limit of ``seconds`` that is counted from ``start`` and again from each ``extend``.

    Before ``start`` it never passes: an outage costs nothing while nobody waits.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._since: float | None = None

    def start(self) -> "Deadline":
        """Count from now on, unless it counts already."""
        if self._since is None:
            self._since = self._clock()
        return self

    def extend(self) -> None:
        """Count again from zero, if it counts."""
        if self._since is not None:
            self._since = self._clock()

    @property
    def is_started(self) -> bool:
        """Return whether it counts."""
        return self._since is not None

    @property
    def is_over(self) -> bool:
        """Return whether it has passed."""
        return self._since is not None and self._clock() - self._since >= self.seconds


def retry(
    operation: Callable[[], T],
    patience_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Return the result of ``operation``; raise its ``Interrupted`` after ``patience_seconds``."""
    deadline = Deadline(patience_seconds, clock).start()

    def warn(error: BaseException) -> None:
        log.warning("retrying: %s", error)

    return retrying(lambda: deadline.is_over, before_wait=warn, sleep=sleep)(operation)


def retrying(
    is_over: Callable[[], bool] = lambda: False,
    *,
    on: type[Exception] | tuple[type[Exception], ...] = Interrupted,
    max_attempts: int | None = None,
    first_wait_seconds: float | None = None,
    before_wait: Callable[[BaseException], object] = lambda error: None,
    sleep: Callable[[float], object] = time.sleep,
) -> tenacity.Retrying:
    """Return the policy as a loop: ``for attempt in retrying(...): with attempt: ...``.

    The last error is raised once ``is_over``, or after ``max_attempts``. ``sleep`` may raise to end
    the loop. ``attempt.retry_state.attempt_number`` counts the failures in a row, from 1, and sets
    the wait.
    """
    first_seconds = FIRST_WAIT_SECONDS if first_wait_seconds is None else first_wait_seconds

    def is_last(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number == max_attempts or is_over()

    def report(state: tenacity.RetryCallState) -> None:
        if state.outcome and (error := state.outcome.exception()):
            before_wait(error)

    def pause(seconds: float) -> None:
        sleep(seconds)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
        stop=is_last,
        wait=lambda state: wait_seconds(state.attempt_number, random.random(), first_seconds),
        before_sleep=report,
        sleep=pause,
        reraise=True,
    )


def wait_seconds(attempt: int, chance: float, first_seconds: float = FIRST_WAIT_SECONDS) -> float:
    """Return the wait after ``attempt`` failures in a row; ``chance`` is uniform in [0, 1)."""
    longest = min(MAX_WAIT_SECONDS, first_seconds * 2.0 ** min(attempt - 1, 30))
    return longest * (0.5 + chance / 2)
