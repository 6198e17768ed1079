"""Hang watchdog: ends a process in which nothing has finished for too long, with the stacks of all its threads, so that its group starts again.

Knows no tensor and no store. How long is too long depends on the phase. A thread of ours watches the one that trains; a timer of C
(``faulthandler``) watches that thread, because while a call keeps the GIL no Python runs. The timer can only print to standard error.

    with Watchdog({"compile": 900, "train": 450}, lambda hang: end_process(hang, 1, write), name="rank 1") as watchdog:
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
from types import TracebackType
from typing import NamedTuple, NoReturn

from job.telemetry.step_report import Phase

log = logging.getLogger("dcgan.watchdog")

# 75 of sysexits.h: a temporary failure, to be tried again. No error of ours has it (job.config.errors). The timer of C can only end with 1.
EXIT_CODE = os.EX_TEMPFAIL
TICK_SECONDS = 1.0
NEVER_SECONDS = 1e9  # a limit from here on is none; the timer of C could not count much further
STANDARD_ERROR = 2  # the descriptor: what stands in `sys.stderr` may have none


class Hang(NamedTuple):
    """Nothing has finished for ``seconds`` in ``phase``, which may take ``limit_seconds``; the Python ``stacks`` of all threads."""

    phase: Phase
    seconds: float
    limit_seconds: float
    stacks: str


class Watchdog:
    """Calls ``on_hang``, once and in a thread of its own, when no ``beat`` came within the limit of the phase. A context manager.

    ``limits`` is in seconds; a phase that is not there, or there with 0 or infinity, is not watched. Where not even Python runs, the timer of C
    prints all stacks and ends the process with 1, ``backstop_seconds`` after the limit; ``name`` stands in them. So it does where ``on_hang`` fails.
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
        # The name of a file is the only text that the timer of C prints for us, so the thread's outermost code gets one that says who this is.
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join()  # a hang that is being told of is told to its end

    def beat(self, phase: Phase) -> None:
        """Something has finished, and from now on this is ``phase``."""
        self._last = (phase, self._clock())  # one store, so the other thread never sees half of it

    def _watch(self) -> None:
        while not self._closed.wait(self._tick_seconds):
            phase, since = self._last
            seconds = self._clock() - since
            if (limit_seconds := self._limits.get(phase)) is None:
                faulthandler.cancel_dump_traceback_later()
                continue
            left_seconds = max(0.0, limit_seconds - seconds) + self._backstop_seconds
            faulthandler.dump_traceback_later(
                left_seconds, exit=True, file=STANDARD_ERROR
            )  # instead of the one before
            if seconds > limit_seconds:
                self._on_hang(Hang(phase, seconds, limit_seconds, stacks()))
                break
        faulthandler.cancel_dump_traceback_later()  # not after an exception: then the process still has to end


def stacks() -> str:
    """The Python stacks of all threads of this process, each below its thread's name; text of many lines."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames().items()
    return "\n".join(
        f"Thread {names.get(ident, 'without a name')}:\n{''.join(traceback.format_stack(frame))}"
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
    """Say which rank hangs, and where, in the log and through ``write`` (into the run folder), then end this process, whatever it is doing.

    Both have ``write_seconds``: a log or a store may be what hangs. The process stays ``linger_seconds`` more, because workers hang together: the
    first to go would have the others ended before they said where they stand.
    """
    text = f"rank {rank} hangs: nothing has finished for {hang.seconds:.0f} s in phase {hang.phase} (limit {hang.limit_seconds:g} s)"
    fields = {
        "rank": rank,
        "phase": hang.phase,
        "seconds": hang.seconds,
        "limit_seconds": hang.limit_seconds,
        "stacks": hang.stacks,
    }

    def write_stacks() -> None:
        try:
            write(f"{text}\n\n{hang.stacks}")
        except Exception as error:  # the edge of the process: it ends in any case
            log.error("rank %d: the stacks of the hang are in the log only: %s", rank, error)

    def say() -> None:
        log.critical("%s; it ends, so that the workers start again", text, extra={"fields": fields})
        writing.join(write_seconds)
        if writing.is_alive():
            log.error(
                "rank %d: the stacks of the hang are in the log only: not written within %g s",
                rank,
                write_seconds,
            )
        sys.stdout.flush()
        sys.stderr.flush()

    writing = threading.Thread(target=write_stacks, name="watchdog writes", daemon=True)
    saying = threading.Thread(target=say, name="watchdog speaks", daemon=True)
    writing.start()
    saying.start()
    saying.join(write_seconds + 1)
    time.sleep(linger_seconds)
    os._exit(exit_code)
