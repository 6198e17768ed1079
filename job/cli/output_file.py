"""Write the file that the user named, whole or not at all."""

import os
from pathlib import Path

from job.cli.output import say


def write_file(destination: Path, data: bytes) -> None:
    """Write ``data`` and print the path.

    What a link points to is written, and the link stays. A device or a pipe is written through.
    """
    from job.storage.local import LocalStore

    is_other = destination.exists() and not destination.is_file()
    if is_other:  # a device or a pipe, which a new file must not replace
        _write_through(destination, data)
    else:
        target = Path(os.path.realpath(destination))
        LocalStore(target.parent).write(target.name, data)
    say(str(destination), err=is_other)  # it may be our own standard output


def _write_through(destination: Path, data: bytes) -> None:
    from job.storage.os_errors import storage_error

    try:
        with destination.open("wb") as file:
            file.write(data)
    except OSError as error:
        raise storage_error(str(destination), "write", error) from error
