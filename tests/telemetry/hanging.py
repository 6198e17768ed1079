"""A process that hangs: ``python -m tests.telemetry.hanging PLACE WRITE FOLDER``.

It is rank 1 and has a second thread, ``reader``. PLACE is a key of ``PLACES``, WRITE is one of
``WRITES`` or ``broken``; the stacks are written into FOLDER.
"""

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from job.telemetry import logs
from job.telemetry.watchdog import Hang, Watchdog, end_process

LIMIT_SECONDS = 0.3


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def sleep_long() -> None:
    time.sleep(3600)


def keep_the_gil() -> None:
    ctypes.PyDLL(None).sleep(3600)  # unlike those of a CDLL, its calls keep the GIL


PLACES: dict[str, Callable[[], None]] = {
    "lock": wait_for_a_lock,
    "sleep": sleep_long,
    "gil": keep_the_gil,
}


def write_file(text: str) -> None:
    Path(sys.argv[3], "rank-1.txt").write_text(text)


def write_never(text: str) -> None:
    time.sleep(3600)


def refuse(text: str) -> None:
    raise OSError("the store is full")


WRITES: dict[str, Callable[[str], None]] = {
    "file": write_file,
    "stuck": write_never,
    "refused": refuse,
}


def report(hang: Hang) -> None:
    if sys.argv[2] == "broken":
        raise ValueError("a bug in on_hang")
    end_process(hang, 1, WRITES[sys.argv[2]], write_seconds=0.5, linger_seconds=0)


def read_on() -> None:
    threading.Event().wait()


class Clock:
    """Counts how often the watchdog reads it."""

    def __init__(self) -> None:
        self.readings = threading.Semaphore(0)

    def __call__(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.readings.release()
        return time.monotonic()


def main() -> None:
    logs.configure(rank=1, run="garments", as_json=True)
    threading.Thread(target=read_on, name="reader", daemon=True).start()
    clock, backstop_seconds = Clock(), 0.5 if "gil" in sys.argv or "broken" in sys.argv else 60
    with Watchdog(
        {"train": LIMIT_SECONDS},
        report,
        name="rank 1",
        backstop_seconds=backstop_seconds,
        clock=clock,
    ) as watchdog:
        watchdog.beat("train")
        for _ in range(2):  # at the second reading, the C timer is set
            clock.readings.acquire()
            watchdog.beat("train")
        sys.stdout.write("not flushed yet")
        PLACES[sys.argv[1]]()


if __name__ == "__main__":
    main()
