"""Requests at once: fewer after each "slow down", and more again with successes."""

import threading
from concurrent.futures import ThreadPoolExecutor

from job.streaming.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_slow_down_halves_the_limit_and_successes_raise_it() -> None:
    clock = Clock()
    pace = Pace(16, clock)
    for _ in range(16):  # every request in flight gets that answer; it counts once
        pace.slow_down()
    assert pace.limit == 8
    for _ in range(10):
        clock.now += 1
        pace.slow_down()
    assert pace.limit == 1
    for _ in range(10):
        pace.mark_succeeded()
    assert 3 < pace.limit < 6
    for _ in range(1000):
        pace.mark_succeeded()
    assert pace.limit == 16


def test_no_more_than_the_limit_run_at_once() -> None:
    pace, running, most, lock = Pace(3), 0, 0, threading.Lock()

    def request(_: int) -> None:
        nonlocal running, most
        with pace.permit():
            with lock:
                running += 1
                most = max(most, running)
            threading.Event().wait(0.001)
            with lock:
                running -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(request, range(60)))
    assert (running, most) == (0, 3)


def test_a_permit_is_given_back_after_an_error() -> None:
    pace = Pace(1)
    for _ in range(3):
        try:
            with pace.permit():
                raise RuntimeError
        except RuntimeError:
            pass
    with pace.permit():
        pass
