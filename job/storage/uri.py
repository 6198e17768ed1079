"""From a URI to the store it names; knows the kinds of stores, and loads boto3 only for one that needs it."""

from pathlib import Path

from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.storage.local import LocalStore
from job.storage.store import ObjectStore


def open_store(uri: str, spec: StorageSpec | None = None) -> ObjectStore:
    """The store rooted at ``uri``: ``s3://bucket/prefix``, ``file:///folder`` or a path. Opening contacts nothing.

    ``ConfigError`` for any other URI, and for an empty one: a path of no letters is the current folder, which an unset shell variable never meant.
    """
    if not uri.strip():
        raise ConfigError("the URI of a store is empty; expected s3://bucket/prefix, file:///folder or a path (is a shell variable unset?)")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStore(Path(uri))
    if scheme == "file":
        if not rest.startswith("/"):
            raise ConfigError(f"{uri}: a file URI needs an absolute path; expected file:///folder (three slashes)")
        return LocalStore(Path(rest))
    if scheme == "s3":
        from job.storage.s3 import S3Store  # boto3 takes most of a second to load

        return S3Store(uri, spec or StorageSpec())
    raise ConfigError(f"{uri}: unknown scheme {scheme}://; expected s3://bucket/prefix, file:///folder or a path")
