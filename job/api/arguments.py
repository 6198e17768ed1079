"""Checks of the arguments of functions, as click checks those of the commands, and their names."""

import json
import operator
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from job.config.errors import ConfigError, DcganError

# Options and arguments of commands, and what a program sets instead. Others are for commands only.
PYTHON_NAMES = {
    "SOURCE": "source",
    "DEST": "destination",
    "--class": "classes",
    "--num": "num_images",
    "--per-class": "usefulness.per_class",
    "--resume": "checkpoints.resume",
    "--tmp": "TMPDIR",
    **{
        f"--{name.replace('_', '-')}": name
        for name in (
            "against", "balanced", "best", "channels", "features", "fit", "held_out", "limit",
            "preset", "seed", "size", "skip_bad", "split", "start", "truncation",
        )
    },
}  # fmt: skip
# What a shell would run, or one option or argument.
_TEXT = re.compile(
    r"`[^`]*`|\bdcgan-train [^;,)]*|(?<![\w/.-])(?:--[a-z-]+|SOURCE|DEST)(?![\w/]|\.\w)"
)


@contextmanager
def python_names() -> Iterator[None]:
    """Name arguments of Python in a ``DcganError`` that names options of the command line.

    Commands in it stay as they are. Also a decorator, ``@python_names()``. The error stays the same
    object.
    """
    try:
        yield
    except DcganError as error:
        text = _TEXT.sub(lambda found: PYTHON_NAMES.get(found[0], found[0]), str(error))
        error.args = (text,)
        raise


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return ``value`` as an int; ``ConfigError`` unless it is whole and ``low ... high``."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        expected = f"at least {low:,}" if high is None else f"{low:,} to {high:,}"
        raise ConfigError(f"{name} is {value!r}; expected a whole number, {expected}")
    return number


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise ``ConfigError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")


def setting(key: str, value: Any) -> str:
    """Return ``key=value`` as ``--set`` takes it; ``ConfigError`` for a value YAML has not."""

    def plain(other: Any) -> Any:
        if isinstance(other, os.PathLike):
            return os.fspath(other)
        if hasattr(other, "item"):  # a number of numpy
            return other.item()
        raise ConfigError(
            f"{key} is {other!r}; expected a text, a number, true, false, a list or a mapping"
        )

    return f"{key}={json.dumps(value, ensure_ascii=False, default=plain)}"
