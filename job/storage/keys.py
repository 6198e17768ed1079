"""Keys: what a relative path inside a store may look like.

Knows nothing of folders or S3, so that a key refused by one is refused by the other.
"""

from job.config.errors import StorageError

# Names of this start are the stores' own: files being written, and locks. They are never objects and never listed.
OWN_PREFIX = ".~"


def checked_key(uri: str, key: str) -> str:
    """``key`` itself, or ``StorageError`` where it could leave the store at ``uri`` or name two things at once (``a//b``, ``a/./b``)."""
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise StorageError(
            f"{uri}: the key {key!r} is not a path inside the store; expected names joined by single slashes, such as 'a/b'"
        )
    if any(part.startswith(OWN_PREFIX) for part in parts):
        raise StorageError(
            f"{uri}: the key {key!r} has a name that starts with {OWN_PREFIX!r}, kept for unfinished files; choose another"
        )
    return key
