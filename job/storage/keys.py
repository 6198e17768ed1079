"""Keys: the relative paths that a store accepts, the same on a folder and on S3."""

from job.config.errors import StorageError

# Prefix of internal files: temporary files and locks. They are not objects and are never listed.
OWN_PREFIX = ".~"


def checked_key(uri: str, key: str) -> str:
    """Return ``key``; raise ``StorageError`` if it is ambiguous (``a//b``) or leaves the store."""
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise StorageError(
            f"{uri}: the key {key!r} is not a path inside the store; expected names joined by"
            " single slashes, such as 'a/b'"
        )
    if any(part.startswith(OWN_PREFIX) for part in parts):
        raise StorageError(
            f"{uri}: the key {key!r} has a name that starts with {OWN_PREFIX!r}, reserved for"
            " unfinished files; choose another"
        )
    return key
