"""``S3Store``: a bucket, or a prefix of one, as an object store, on Amazon's S3 or a server that speaks its protocol.

Knows objects, never how the server is reached (``s3_client``) or what its errors mean (``s3_errors``).

    store = S3Store("s3://bucket/runs/one", StorageSpec(endpoint_url="http://127.0.0.1:9000"))
    tag = store.write_if("lease.json", b"{}", None)    # None: another was first

A listing is in key order because S3 answers so (UTF-8 bytes); a write is whole or absent because S3 shows no unfinished object.
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
    """Objects below ``s3://bucket/prefix``; ``prefix`` and ``prefix2`` never mix. See ``ObjectStore`` for what each method promises."""

    def __init__(self, uri: str, spec: StorageSpec) -> None:
        """Contacts nothing. ``ConfigError`` where the URI or the endpoint is malformed."""
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
        if num_bytes <= 0:  # S3 knows no empty range
            if self.stat(key) is None:
                raise self._missing(key)
            return b""
        return self._get(key, {"Range": f"bytes={start}-{start + num_bytes - 1}"})

    def stat(self, key: str) -> ObjectInfo | None:
        with self._told("look at", key):
            try:
                found = self._client.head_object(**self._at(key))
            except self._client_error as error:
                if not self._says_missing(error):
                    raise
                return None
        return ObjectInfo(key, found["ContentLength"], _tag(found))

    def write(self, key: str, data: bytes) -> None:
        with self._told("write", key):
            if len(data) < PART_BYTES:
                self._client.put_object(**self._at(key), Body=data)
                return
            with transfer_manager(self._client, self._spec) as manager:
                manager.upload(io.BytesIO(data), self._bucket, self._root + key).result()

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        condition = (
            {"IfNoneMatch": "*"}
            if etag is None
            else {"IfMatch": etag if etag.startswith(_WEAK) else f'"{etag}"'}
        )
        write_id = uuid.uuid4().hex
        with self._told("write", key):
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
        with self._told(f"upload {path}", key):
            if (
                path.stat().st_size < PART_BYTES
            ):  # a manager's threads would cost more than the request
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
            with self._told("read", key):
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
        with self._told("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._root + prefix
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    if not found["Key"].endswith(
                        "/"
                    ):  # an empty object that consoles make to show a folder
                        yield ObjectInfo(
                            found["Key"].removeprefix(self._root), found["Size"], _tag(found)
                        )

    def delete(self, key: str) -> None:
        with self._told("delete", key):
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
        """This store's, made when it first streams; another one in a forked process, which must not share its sockets."""
        with self._lock:
            if self._streaming is None or self._streaming[0] != os.getpid():
                self._streaming = os.getpid(), new_getter(self._spec, self._bucket)
            return self._streaming[1]

    def _forget(self, getter: Getter | None) -> None:
        """Look for credentials anew: others may have taken the place of those that were refused. Unless another thread has done so already."""
        with self._lock:
            if self._streaming is not None and self._streaming[1] is getter:
                self._streaming = None

    def _get(self, key: str, options: dict[str, str]) -> bytes:
        """The body, to its announced length. boto3 repeats requests, but not a body that breaks off or fails its checksum: done here."""
        from botocore.exceptions import (
            FlexibleChecksumError,
            IncompleteReadError,
            ReadTimeoutError,
            ResponseStreamingError,
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

        cut_short = (
            FlexibleChecksumError,
            IncompleteReadError,
            ReadTimeoutError,
            ResponseStreamingError,
        )
        with self._told("read", key):
            return retrying(on=cut_short, max_attempts=self._spec.max_attempts)(get)

    def _missing(self, key: str) -> ObjectMissing:
        return ObjectMissing(
            f"{self.uri}/{key}: there is no such object; check the URI, or what should have written it"
        )

    def _says_missing(self, error: Any) -> bool:
        """Whether a failed HEAD means that there is no such object. Raises the true error where it means more.

        An answer to HEAD has no body, so a missing bucket, a missing object, a wrong region and expired credentials are bare 404s and 400s.
        The same question asked as a listing is answered in words.
        """
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        missing = bool(status == 404)
        if (missing and self._bucket_exists) or status not in (301, 400, 403, 404):
            return missing
        try:
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._root, MaxKeys=1)
        except self._client_error as reason:
            if not (
                missing and reason.response["ResponseMetadata"]["HTTPStatusCode"] == 403
            ):  # may read objects, may not list them
                raise
        self._bucket_exists = True
        return missing

    def _tag_if_written_by(self, key: str, write_id: str) -> str | None:
        """The tag of a conditional write that the server refused, where it was ours after all.

        The answer to a write that succeeded can be lost on the way; boto3 then sends it again and is refused because of its own first try.
        """
        try:
            found = self._client.head_object(**self._at(key))
        except self._client_error as error:
            if not self._says_missing(error):
                raise
            return None
        return _tag(found) if found.get("Metadata", {}).get(_WRITE_ID) == write_id else None

    @contextmanager
    def _told(self, action: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        uri = f"{self.uri}/{key}" if key else self.uri
        try:
            yield
        except RangeIgnored as error:
            raise StorageError(f"{uri}: {error}") from None
        except (self._client_error, BotoCoreError, HTTPError, RecursionError) as error:
            if _code(error) == "NoSuchKey":
                raise self._missing(key) from None
            told = s3_errors.storage_error(uri, action, self._endpoint, error)
            if isinstance(told, Interrupted) and told.reason == "credentials":
                forget_client(
                    self._spec
                )  # others may have taken the place of those that were refused
            # Without the chain: a traceback would print what the server echoed before secrets were taken out of it.
            raise told from None
        except OSError as error:
            raise os_errors.storage_error(uri, action, error) from error


def _tag(found: dict[str, Any]) -> str:
    """Return an object's tag without its quotes, a weak one (``W/"..."``) as it is; "" from a server that sends none."""
    tag = str(found.get("ETag", ""))
    return tag if tag.startswith(_WEAK) else tag.strip('"')


def _code(error: Any) -> str | None:
    """What S3 calls the error of a ``ClientError``; None for any other exception."""
    response = getattr(error, "response", None)
    return response["Error"]["Code"] if isinstance(response, dict) and "Error" in response else None
