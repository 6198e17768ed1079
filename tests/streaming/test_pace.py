"""Pressing a store: fewer requests when it says so, waits that grow and differ, patience that counts only while somebody waits."""

import threading
from concurrent.futures import ThreadPoolExecutor

from job.streaming.pace import LONGEST_WAIT_SECONDS, Pace, Patience, wait_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_a_longest_and_differ() -> None:
    assert [wait_seconds(attempt, 1.0) for attempt in range(1, 12)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        10,
        10,
        10,
        10,
    ]
    assert wait_seconds(10**6, 0.5) == LONGEST_WAIT_SECONDS * 0.75
    assert wait_seconds(3, 0.0) == 0.2


def test_a_word_to_slow_down_halves_and_successes_raise_again() -> None:
    clock = Clock()
    pace = Pace(16, clock)
    for _ in range(16):  # all that were under way are told so; it counts once
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


def test_patience_begins_when_it_is_wanted_and_anew_with_every_byte() -> None:
    clock = Clock()
    patience = Patience(10, clock)
    clock.now += 1000
    assert not patience.is_over
    patience.wanted()
    clock.now += 9
    patience.wanted()
    assert not patience.is_over
    clock.now += 2
    assert patience.is_over
    patience.progressed()
    assert not patience.is_over
    clock.now += 11
    assert patience.is_over
