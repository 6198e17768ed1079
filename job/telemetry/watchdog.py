"""Hang watchdog: end a process that makes no progress, with the stacks of all its threads.

The worker group then restarts. Each phase has its own time limit. A Python thread watches the
training thread; a C timer (``faulthandler``) backs it up, because no Python runs while a call keeps
the GIL. The timer can only print to standard error.

    with Watchdog({"compile": 900, "train": 450}, on_hang, name="rank 1") as watchdog:
        watchdog.beat("compile")
"""

import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from job.telemetry.step_report import Phase

log = logging.getLogger("dcgan.watchdog")

# 75 of sysexits.h: a temporary failure. No DcganError has it; the C timer can only exit with 1.
EXIT_CODE = os.EX_TEMPFAIL
TICK_SECONDS = 1.0
NEVER_SECONDS = 1e9  # from here on not watched: the C timer could not count much further
STANDARD_ERROR = 2  # `sys.stderr` may be an object without a descriptor


class Hang(NamedTuple):
    """No progress for ``seconds`` in ``phase``; ``stacks`` are the Python stacks of all threads."""

    phase: Phase
    seconds: float
    limit_seconds: float
    stacks: str


class Watchdog:
    """Calls ``on_hang`` once, in its own thread, if no ``beat`` comes within the phase's limit.

    A context manager. ``limits`` is in seconds; a phase without a limit, or with 0 or infinity, is
    not watched. If Python does not run or ``on_hang`` fails, the C timer prints all stacks and ends
    the process with 1, ``backstop_seconds`` after the limit.
    """

    def __init__(
        self,
        limits: Mapping[Phase, float],
        on_hang: Callable[[Hang], None],
        *,
        name: str = "this process",
        backstop_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = {
            phase: seconds for phase, seconds in limits.items() if 0 < seconds < NEVER_SECONDS
        }
        self._on_hang, self._backstop_seconds, self._clock = on_hang, backstop_seconds, clock
        self._tick_seconds = min(
            [TICK_SECONDS, *(seconds / 4 for seconds in self._limits.values())]
        )
        self._last: tuple[Phase, float] = ("start", clock())
        self._closed = threading.Event()
        # The C timer prints file names only, so the thread's outermost code has ``name`` in one.
        watch = compile("watch()", f"<watchdog of {name}>", "exec")
        self._thread = threading.Thread(
            target=exec,
            args=(watch, {"watch": self._watch}),
            name=f"watchdog of {name}",
            daemon=True,
        )

    def __enter__(self) -> "Watchdog":
        self.beat("start")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()  # lets it finish the report of a hang

    def beat(self, phase: Phase) -> None:
        """Record progress, and that this is now ``phase``."""
        self._last = (phase, self._clock())  # one assignment: atomic for the other thread

    def _watch(self) -> None:
        while not self._closed.wait(self._tick_seconds):
            phase, since = self._last
            seconds = self._clock() - since
            if (limit_seconds := self._limits.get(phase)) is None:
                faulthandler.cancel_dump_traceback_later()
                continue
            left_seconds = max(0.0, limit_seconds - seconds) + self._backstop_seconds
            # This replaces the previous timer.
            faulthandler.dump_traceback_later(left_seconds, exit=True, file=STANDARD_ERROR)
            if seconds > limit_seconds:
                self._on_hang(Hang(phase, seconds, limit_seconds, stacks()))
                break
        # Not after an exception in on_hang: the timer then ends the process.
        faulthandler.cancel_dump_traceback_later()


def stacks() -> str:
    """Return the Python stacks of all threads of this process, each below its thread's name."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames().items()
    return "\n".join(
        f"Thread {names.get(ident, 'unnamed')}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames
    )


def end_process(
    hang: Hang,
    rank: int,
    write: Callable[[str], None],
    exit_code: int = EXIT_CODE,
    *,
    write_seconds: float = 10.0,
    linger_seconds: float = 3.0,
) -> NoReturn:
    """Report the hang in the log and through ``write`` (to the run folder), then end this process.

    Both have ``write_seconds``: the log or the store may be what hangs. The process then waits
    ``linger_seconds``, because workers hang together: the end of the first ends the others, which
    must report first.
    """
    text = (
        f"rank {rank} hangs: nothing has finished for {hang.seconds:.0f} s in phase {hang.phase}"
        f" (limit {hang.limit_seconds:g} s)"
    )
    only_in_log = f"rank {rank}: the stacks of the hang are in the log only"
    fields = {"rank": rank, **hang._asdict()}

    def write_stacks() -> None:
        try:
            write(f"{text}\n\n{hang.stacks}")
        except Exception as error:  # the process ends in any case
            log.error("%s: %s", only_in_log, error)

    def report() -> None:
        log.critical("%s; it exits so that the workers restart", text, extra={"fields": fields})
        writing.join(write_seconds)
        if writing.is_alive():
            log.error("%s: not written within %g s", only_in_log, write_seconds)
        sys.stdout.flush()
        sys.stderr.flush()

    writing = threading.Thread(target=write_stacks, name="watchdog writes", daemon=True)
    reporting = threading.Thread(target=report, name="watchdog reports", daemon=True)
    writing.start()
    reporting.start()
    reporting.join(write_seconds + 1)
    time.sleep(linger_seconds)
    os._exit(exit_code)
