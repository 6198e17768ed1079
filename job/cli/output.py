"""Lines on standard output and standard error, on any terminal."""

import io
import os
import sys

from job.config.text import printable


def say(line: str, *, err: bool = False) -> None:
    """Print one line, without control characters."""
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def escape_what_a_terminal_cannot_show() -> None:
    """Print characters outside of the terminal's encoding as ``\\u2581``; Python would fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def open_standard_streams() -> None:
    """Open the null device as each closed standard stream (``<&- >&- 2>&-``, some daemons).

    Otherwise the first files that the program opens get the numbers 0 to 2, and libraries print
    into them.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            stream = open(os.devnull, mode)  # noqa: SIM115  takes the lowest free number
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
