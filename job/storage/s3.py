"""``S3Store``: a bucket, or a prefix of one, on Amazon S3 or a compatible server.

Knows objects, not how the server is reached (``s3_client``) or what its errors mean
(``s3_errors``).

    store = S3Store("s3://bucket/runs/one", StorageSpec(endpoint_url="http://127.0.0.1:9000"))
    tag = store.write_if("lease.json", b"{}", None)    # None: another writer was first

S3 lists in key order (UTF-8 bytes) and shows no unfinished object, so a write is whole or absent.
"""

import io
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage import os_errors, s3_errors
from job.storage.keys import checked_key
from job.storage.retry import retrying
from job.storage.s3_client import (
    PART_BYTES,
    client_for,
    endpoint_of,
    forget_client,
    new_getter,
    transfer_manager,
)
from job.storage.s3_get import Getter, RangeIgnored
from job.storage.store import Interrupted, ObjectInfo, ObjectMissing
from job.storage.uri import split_s3

_WEAK = 'W/"'
_WRITE_ID = "dcgan-write-id"


class S3Store:
    """Objects below ``s3://bucket/prefix``. See ``ObjectStore`` for the methods."""

    def __init__(self, uri: str, spec: StorageSpec) -> None:
        """Open without a request; raise ``ConfigError`` if the URI or the endpoint is malformed."""
        self._bucket, prefix = split_s3(uri)
        self.uri = f"s3://{self._bucket}/{prefix}".rstrip("/")
        self._root = f"{prefix}/" if prefix else ""
        self._spec = spec
        self._endpoint = endpoint_of(spec)
        self._bucket_exists = False
        self._streaming: tuple[int, Getter] | None = None
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        return self._get(key, {})

    def read_range(self, key: str, start: int, num_bytes: int) -> bytes:
        if num_bytes <= 0:  # S3 has no empty range
            if self.stat(key) is None:
                raise ObjectMissing.at(self.uri, key)
            return b""
        return self._get(key, {"Range": f"bytes={start}-{start + num_bytes - 1}"})

    def stat(self, key: str) -> ObjectInfo | None:
        with self._storage_errors("inspect", key):
            try:
                found = self._client.head_object(**self._at(key))
            except self._client_error as error:
                if not self._says_missing(error):
                    raise
                return None
        return ObjectInfo(key, found["ContentLength"], _tag(found))

    def write(self, key: str, data: bytes) -> None:
        if len(data) >= PART_BYTES:
            self.write_in_parts(key, data)
            return
        with self._storage_errors("write", key):
            self._client.put_object(**self._at(key), Body=data)

    def write_in_parts(self, key: str, data: bytes) -> None:
        """Write by a multipart upload, as large objects are; it may have a single small part."""
        with (
            self._storage_errors("write in parts", key),
            transfer_manager(self._client, self._spec, threshold_bytes=1) as manager,
        ):
            path = self._root + checked_key(self.uri, key)
            manager.upload(io.BytesIO(data), self._bucket, path).result()

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        condition = (
            {"IfNoneMatch": "*"}
            if etag is None
            else {"IfMatch": etag if etag.startswith(_WEAK) else f'"{etag}"'}
        )
        write_id = uuid.uuid4().hex
        with self._storage_errors("write", key):
            try:
                written = self._client.put_object(
                    **self._at(key), Body=data, Metadata={_WRITE_ID: write_id}, **condition
                )
            except self._client_error as error:
                if error.response["Error"]["Code"] not in (
                    "PreconditionFailed",
                    "412",
                    "ConditionalRequestConflict",
                    "NoSuchKey",
                ):
                    raise
                return self._tag_if_written_by(key, write_id)
        return _tag(written)

    def upload(self, path: Path, key: str) -> None:
        with self._storage_errors(f"upload {path}", key):
            if path.stat().st_size < PART_BYTES:  # a manager's threads would cost more
                with path.open("rb") as file:
                    self._client.put_object(**self._at(key), Body=file)
                return
            with transfer_manager(self._client, self._spec) as manager:
                manager.upload(
                    str(path), self._bucket, self._root + checked_key(self.uri, key)
                ).result()

    def stream(
        self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]
    ) -> None:
        if num_bytes <= 0:
            return
        getter = None
        try:
            with self._storage_errors("read", key):
                getter = self._getter()
                try:
                    getter.get(self._root + checked_key(self.uri, key), start, num_bytes, write)
                except self._client_error as error:
                    if _code(error) != "InvalidRange":  # it starts at or beyond the object's end
                        raise
        except Interrupted as error:
            if error.reason == "credentials":
                self._forget(getter)
            raise

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._storage_errors("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._root + prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"]
                    if not key.endswith("/"):  # consoles make an empty object to show a folder
                        yield ObjectInfo(key.removeprefix(self._root), found["Size"], _tag(found))

    def delete(self, key: str) -> None:
        with self._storage_errors("delete", key):
            self._client.delete_object(**self._at(key))

    def local_path(self, key: str) -> Path | None:
        return None

    @property
    def _client(self) -> Any:
        return client_for(self._spec)

    @property
    def _client_error(self) -> type[Any]:
        from botocore.exceptions import ClientError

        return ClientError  # type: ignore[no-any-return]

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._root + checked_key(self.uri, key)}

    def _getter(self) -> Getter:
        """Return this store's getter, created by the first stream.

        A forked process gets another one: it must not share sockets.
        """
        with self._lock:
            if self._streaming is None or self._streaming[0] != os.getpid():
                self._streaming = os.getpid(), new_getter(self._spec, self._bucket)
            return self._streaming[1]

    def _forget(self, getter: Getter | None) -> None:
        """Read the credentials again at the next stream, unless another thread did."""
        with self._lock:
            if self._streaming is not None and self._streaming[1] is getter:
                self._streaming = None

    def _get(self, key: str, options: dict[str, str]) -> bytes:
        """Return the body; boto3 does not retry one that is cut short or fails its checksum."""
        from botocore import exceptions

        cut_short = (
            exceptions.FlexibleChecksumError,
            exceptions.IncompleteReadError,
            exceptions.ReadTimeoutError,
            exceptions.ResponseStreamingError,
        )

        def get() -> bytes:
            try:
                body = self._client.get_object(**self._at(key), **options)["Body"]
            except self._client_error as error:
                if _code(error) == "InvalidRange":  # it starts at or beyond the object's end
                    return b""
                raise
            with closing(body):
                return bytes(body.read())

        with self._storage_errors("read", key):
            return retrying(on=cut_short, max_attempts=self._spec.max_attempts)(get)

    def _says_missing(self, error: Any) -> bool:
        """Return whether a failed HEAD means a missing object; raise the error behind it if not.

        An answer to HEAD has no body: a missing bucket, a missing object, a wrong region and
        expired credentials are bare 404s and 400s. The answer to a listing has a code and a
        message.
        """
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        missing = bool(status == 404)
        if (missing and self._bucket_exists) or status not in (301, 400, 403, 404):
            return missing
        try:
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._root, MaxKeys=1)
        except self._client_error as reason:
            # 403: these credentials may read objects but not list them.
            if not (missing and reason.response["ResponseMetadata"]["HTTPStatusCode"] == 403):
                raise
        self._bucket_exists = True
        return missing

    def _tag_if_written_by(self, key: str, write_id: str) -> str | None:
        """Return the object's tag if this refused conditional write had succeeded, else None.

        The answer to a successful write can be lost. boto3 then sends it again and is refused
        because of that first attempt.
        """
        try:
            found = self._client.head_object(**self._at(key))
        except self._client_error as error:
            if not self._says_missing(error):
                raise
            return None
        return _tag(found) if found.get("Metadata", {}).get(_WRITE_ID) == write_id else None

    @contextmanager
    def _storage_errors(self, action: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        uri = f"{self.uri}/{key}" if key else self.uri
        try:
            yield
        except RangeIgnored as error:
            raise StorageError(f"{uri}: {error}") from None
        except (self._client_error, BotoCoreError, HTTPError, RecursionError) as error:
            if _code(error) == "NoSuchKey":
                raise ObjectMissing.at(self.uri, key) from None
            failure = s3_errors.storage_error(uri, action, self._endpoint, error)
            if isinstance(failure, Interrupted) and failure.reason == "credentials":
                forget_client(self._spec)  # new credentials may have replaced the refused ones
            # Without the chain: a traceback would print the server's answer, with secrets.
            raise failure from None
        except OSError as error:
            raise os_errors.storage_error(uri, action, error) from error


def _tag(found: dict[str, Any]) -> str:
    """Return an object's tag without quotes, a weak one (``W/"..."``) unchanged, or ""."""
    tag = str(found.get("ETag", ""))
    return tag if tag.startswith(_WEAK) else tag.strip('"')


def _code(error: Any) -> str | None:
    """Return the S3 code of a ``ClientError``; None for any other exception."""
    response = getattr(error, "response", None)
    return response["Error"]["Code"] if isinstance(response, dict) and "Error" in response else None
