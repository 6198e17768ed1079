"""Signals of this process while libraries are loaded. Knows no Ray."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_signals() -> Iterator[None]:
    """Call the handlers of SIGINT, SIGTERM and SIGHUP at the end, not while this is entered.

    ``KeyboardInterrupt`` is lost in some imports: of 40 runs stopped while Ray was loaded, one
    began nevertheless. Does nothing in other threads than the main one, where no handler runs.
    """
    held: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if callable(handler := signal.getsignal(number)):
                before[number] = handler
                signal.signal(number, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        # A handler that raises between two of them would leave the others replaced.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, before)
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in held:
            signal.raise_signal(late)  # pending until the mask is back
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
