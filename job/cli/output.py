"""Lines on standard output and standard error, on any terminal."""

import io
import sys

from job.config.text import printable


def say(line: str, *, err: bool = False) -> None:
    """Print one line, without control characters."""
    print(printable(line), file=sys.stderr if err else sys.stdout, flush=True)


def escape_what_a_terminal_cannot_show() -> None:
    """Print characters outside of the terminal's encoding as ``\\u2581``, where Python ends the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
