"""Which start of the workers may write checkpoints: the last one that claimed the run folder, in ``checkpoints/writer.json``.

The lease keeps another job out. This keeps out an earlier start of the same job: a first worker whose host was cut off, and which comes back to a
save that it was making when its group has long been started anew elsewhere.
"""

import json
import secrets
from collections.abc import Callable

from job.storage.store import ObjectMissing, ObjectStore

KEY = "checkpoints/writer.json"
_MOST_BYTES = 4096


class Superseded(RuntimeError):
    """A later start of the workers writes the checkpoints now. Not an error of the run, which goes on there."""


def claim(store: ObjectStore) -> Callable[[], None]:
    """Become the one that writes; what is given raises ``Superseded`` once another start has done so after us."""
    name = secrets.token_hex(16)
    store.write(KEY, json.dumps({"start": name}).encode())

    def fence() -> None:
        try:
            found = json.loads(store.read_range(KEY, 0, _MOST_BYTES))
        except ObjectMissing:  # removed by hand; nobody else claims to be the one
            return
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("start") != name:
            raise Superseded(f"{store.uri.rstrip('/')}/{KEY}: a later start of the workers writes the checkpoints")

    return fence
