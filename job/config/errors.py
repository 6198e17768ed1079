"""Errors by kind, and the exit code of each kind.

Knows no click and no exit: ``job.cli`` is the only place that turns these into text and a status.
Raise the kind that the *user* can act on, with a message that names the key or the URI, what was
found, what was expected and what to do. Control characters of the names in it (a line break in a
file's name) are escaped, so it is always one line.
"""

from job.config.text import printable


class DcganError(Exception):
    """An error whose text is shown to the user, without a traceback."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(DcganError):
    """A wrong command line, configuration or environment (a taken port, too few workers).

    Exit code 2.
    """

    exit_code = 2


class StorageError(DcganError):
    """An object store that refuses, is missing, full or out of reach: exit code 3."""

    exit_code = 3


class DivergedError(DcganError):
    """A loss that is NaN or infinite: exit code 4."""

    exit_code = 4


class DataError(DcganError):
    """Images or packed shards that are missing, broken or not what they claim to be.

    Exit code 5.
    """

    exit_code = 5
