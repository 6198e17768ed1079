"""Silence libraries while they load: no log level turns off all of TensorFlow 2.21's lines."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from job.config.errors import DcganError


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hide what the block writes to file descriptor 2, unless an unexpected exception is raised."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except DcganError:
            raise  # its message is enough
        except BaseException:
            hidden.seek(0)
            os.write(saved, hidden.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
