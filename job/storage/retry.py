"""Repeat an operation on a store until it works, while what it says is that it may.

Only ``Interrupted`` is repeated: the network, a store that fails or is busy, credentials that are being renewed. What is refused stays refused.
"""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from job.storage.store import Interrupted

log = logging.getLogger("dcgan.storage")

T = TypeVar("T")
_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0


def until_it_works(
    operation: Callable[[], T],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What ``operation`` gives; its ``Interrupted`` once ``seconds`` have passed. Waits double, and differ at random by a half."""
    deadline, wait = clock() + seconds, _FIRST_WAIT_SECONDS
    while True:
        try:
            return operation()
        except Interrupted as error:
            if clock() >= deadline:
                raise
            log.warning("trying again: %s", error)
        sleep(wait * (0.5 + random.random() / 2))
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
