"""The retry policy: what is retried, how long, and with what waits."""

import pytest

from job.config.errors import StorageError
from job.storage.retry import MAX_WAIT_SECONDS, Deadline, retry, retrying, wait_seconds
from job.storage.store import Interrupted


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


class Failing:
    """An operation that raises each of ``errors`` once, then returns ``"done"``."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.num_calls = 0

    def __call__(self) -> str:
        self.num_calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def interrupted() -> Interrupted:
    return Interrupted("s3://bucket/k: cannot read: cut short", "truncated")


def test_an_interrupted_operation_is_retried_with_growing_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, operation = Clock(), Failing(*(interrupted() for _ in range(5)))
    assert retry(operation, 60, clock=clock, sleep=clock.sleep) == "done"
    assert operation.num_calls == 6
    for wait, longest in zip(clock.waits, (0.1, 0.2, 0.4, 0.8, 1.6), strict=True):
        assert longest / 2 <= wait <= longest
    assert caplog.messages == ["retrying: s3://bucket/k: cannot read: cut short"] * 5


def test_the_last_error_is_raised_when_patience_is_over() -> None:
    clock, operation = Clock(), Failing(*(interrupted() for _ in range(1000)))
    with pytest.raises(Interrupted, match="cut short"):
        retry(operation, 60, clock=clock, sleep=clock.sleep)
    assert 60 <= sum(clock.waits) <= 70
    with pytest.raises(Interrupted):
        retry(Failing(interrupted()), 0, clock=clock, sleep=clock.sleep)


def test_a_refusal_is_raised_at_once() -> None:
    operation = Failing(StorageError("access denied"))
    with pytest.raises(StorageError, match="access denied"):
        retry(operation, 60)
    assert operation.num_calls == 1


def test_a_loop_of_attempts_ends_at_its_maximum_and_counts_failures_in_a_row() -> None:
    clock, operation = Clock(), Failing(*(KeyError() for _ in range(9)))

    def loop() -> None:
        for attempt in retrying(on=KeyError, max_attempts=4, sleep=clock.sleep):
            with attempt:
                if operation.num_calls == 2:
                    attempt.retry_state.attempt_number = 1
                operation()

    with pytest.raises(KeyError):
        loop()
    assert operation.num_calls == 6
    assert max(clock.waits) <= 0.4


def test_sleep_can_interrupt_the_loop() -> None:
    def sleep(seconds: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        retry(Failing(interrupted()), 60, sleep=sleep)


def test_waits_double_up_to_a_maximum_with_jitter() -> None:
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
    assert wait_seconds(10**6, 0.5) == MAX_WAIT_SECONDS * 0.75
    assert wait_seconds(3, 0.0) == 0.2


def test_a_deadline_counts_from_its_start_and_again_from_each_extension() -> None:
    clock = Clock()
    deadline = Deadline(10, clock)
    clock.now += 1000
    assert not deadline.is_over
    deadline.start()
    clock.now += 9
    deadline.start()
    assert not deadline.is_over
    clock.now += 2
    assert deadline.is_over
    deadline.extend()
    assert not deadline.is_over
    clock.now += 11
    assert deadline.is_over
