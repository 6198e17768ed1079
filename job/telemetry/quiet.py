"""Silence for libraries that talk while they load: TensorFlow 2.21 prints lines at import that no log level of its own turns off."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from job.config.errors import DcganError


@contextlib.contextmanager
def quiet_stderr(enabled: bool = True) -> Iterator[None]:
    """Keep what this process writes to file descriptor 2 meanwhile, and show it only if an exception that is not ours comes out."""
    if not enabled:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except DcganError:
            raise  # says itself what is wrong
        except BaseException:
            kept.seek(0)
            os.write(saved, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
