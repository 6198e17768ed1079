"""Open the store of a URI; boto3 is loaded only for S3.

All URIs are checked here; ``tests/storage/uri_cases.py`` has a table of the refused ones.
"""

import re

from job.config.errors import ConfigError, StorageError
from job.config.storage import StorageSpec
from job.storage.keys import checked_key
from job.storage.local import LocalStore
from job.storage.paths import local_path
from job.storage.store import ObjectStore

EXPECTED = "expected s3://bucket/prefix, file:///folder or a path"
# boto3's rules for bucket names and for access points with colons: a slash would end the bucket's
# part of the URI.
_BUCKET = re.compile(
    r"[a-zA-Z0-9._-]{1,255}"
    r"|arn:aws[a-z-]*:s3(-object-lambda)?:[a-z0-9-]*:[0-9]{12}:accesspoint:[a-zA-Z0-9.-]{1,63}"
    r"|arn:aws[a-z-]*:s3-outposts:[a-z0-9-]+:[0-9]{12}:outpost:[a-zA-Z0-9-]{1,63}"
    r":accesspoint:[a-zA-Z0-9-]{1,63}"
)
_EXPRESS = "--x-s3"  # ends the names of S3 Express directory buckets, and no others


def open_store(
    uri: str, spec: StorageSpec | None = None, *, max_attempts: int | None = None
) -> ObjectStore:
    """Return the store rooted at ``uri``: ``s3://bucket/prefix``, ``file:///folder`` or a path.

    Send no request. ``max_attempts`` overrides ``spec``, for callers that retry by themselves.

    Raise ``ConfigError`` for any other URI, and for an empty one: it would be the current folder,
    which nobody means with an unset shell variable.
    """
    if not uri.strip():
        raise ConfigError(f"the URI of a store is empty; {EXPECTED} (is a shell variable unset?)")
    scheme, separator, _ = uri.partition("://")
    if not separator and re.match("(s3|file):", uri):
        raise ConfigError(f"{uri}: found no // after {uri.partition(':')[0]}:; {EXPECTED}")
    if not separator or scheme == "file":
        return LocalStore(local_path(uri))
    if scheme == "s3":
        from job.storage.s3 import S3Store  # boto3 takes most of a second to load

        spec = spec or StorageSpec()
        return S3Store(uri, spec.replace(max_attempts=max_attempts) if max_attempts else spec)
    raise ConfigError(f"{uri}: unknown scheme {scheme}://; {EXPECTED}")


def split_s3(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``, without slashes around the prefix.

    Raise ``ConfigError`` if S3 or the store could not use them.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if "@" in bucket:  # not shown: it may be a password
        raise ConfigError(
            "the URI of a store has an @ before its prefix; expected s3://bucket/prefix, and"
            " credentials as AWS variables"
        )
    if not uri.startswith("s3://") or not bucket:
        raise ConfigError(f"{uri}: found no bucket; expected s3://bucket or s3://bucket/prefix")
    if not _BUCKET.fullmatch(bucket):
        hint = (
            "; write an access point as arn:aws:s3:REGION:ACCOUNT:accesspoint:NAME, or its alias"
            if bucket.startswith("arn:")
            else ""
        )
        raise ConfigError(
            f"{uri}: {bucket!r} is not a bucket's name; expected letters, digits, dots and hyphens"
            f"{hint}"
        )
    if bucket.endswith(_EXPRESS):
        raise ConfigError(
            f"{uri}: S3 Express directory buckets (names ending in {_EXPRESS}) are not supported;"
            " use a general purpose bucket"
        )
    if prefix := prefix.strip("/"):
        try:
            checked_key(f"s3://{bucket}", prefix)
        except StorageError as error:
            raise ConfigError(str(error)) from None
    return bucket, prefix
