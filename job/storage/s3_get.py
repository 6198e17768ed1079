"""GETs of parts of objects with botocore's signature, connections and exceptions only.

``client.get_object`` costs 1.5 ms of processor time on one core, twice as much. Most of it chooses
an endpoint that never changes and parses headers that nobody reads. Requests that are not answered
with bytes are repeated with boto3, which understands redirects to other regions and errors.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from job.storage.store import PIECE_BYTES
from job.telemetry.secrets import remember_secrets

_MAX_MISSES = 3  # answers in a row that only boto3 understood, before it is used at once


class RangeIgnored(Exception):
    """The server sent the whole object instead of the requested range."""

    def __init__(self, start: int) -> None:
        super().__init__(
            f"requested bytes from {start} on, the server sent the whole object; expected an S3"
            " server"
        )


class Getter:
    """GETs of objects in one bucket. Threads share one."""

    def __init__(
        self,
        client: Any,
        http: Any,
        credentials: Any,
        bucket: str,
        request_payer: str | None = None,
    ) -> None:
        """Take a ``client`` and ``http`` (botocore's ``URLLib3Session``) that send requests once.

        ``credentials`` are botocore's, which renew themselves if they can.
        """
        self._headers = {"x-amz-request-payer": request_payer} if request_payer else {}
        signed = client.generate_presigned_url(
            "get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60
        )
        self._client = client
        self._bucket = bucket
        self._base_url = signed.partition("?")[0].removesuffix("k")
        self._credentials = credentials
        self._http = http
        can_sign = credentials is not None and self._base_url.endswith("/")
        self._misses = 0 if can_sign else _MAX_MISSES

    def get(self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]) -> None:
        """Pass the bytes to ``write``, piece by piece; fewer only at the object's end.

        Raise exceptions of botocore and urllib3.
        """
        part = f"bytes={start}-{start + num_bytes - 1}"
        answer = self._direct(key, part) if self._misses < _MAX_MISSES else None
        if answer is not None:
            self._misses = 0
            status, body = answer.status_code, answer.raw
            length = answer.headers.get("Content-Length")
        else:
            found = self._client.get_object(Bucket=self._bucket, Key=key, Range=part)
            self._misses += 1  # boto3 got an answer that the direct request did not
            status, body = found["ResponseMetadata"]["HTTPStatusCode"], found["Body"]
            length = found.get("ContentLength")
        try:
            if start > 0 and status != 206:
                raise RangeIgnored(start)
            _copy(body, num_bytes, None if length is None else int(length), write)
        finally:
            body.close()  # a body read to its end has returned its connection already

    def _direct(self, key: str, part: str) -> Any:
        """Return an answer with bytes, or None if boto3 should ask; raise if the server is busy."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import ClientError

        request = AWSRequest(
            "GET",
            self._base_url + quote(key, safe="/~"),
            {"Range": part, **self._headers},
            stream_output=True,
        )
        keys = self._credentials.get_frozen_credentials()
        remember_keys_of(keys)
        S3SigV4Auth(keys, "s3", self._client.meta.region_name).add_auth(request)
        answer = self._http.send(request.prepare())
        if answer.status_code in (200, 206):
            return answer
        status, text = answer.status_code, answer.content.decode(errors="replace")[:4096]
        code, message = (
            found[1] if (found := re.search(rf"<{name}>([^<]*)</{name}>", text)) else ""
            for name in ("Code", "Message")
        )
        # Not repeated with boto3: that would be a second request to a busy server.
        if status >= 500 or status in (408, 429) or code == "RequestTimeout":
            error = {"Code": code or str(status), "Message": message}
            raise ClientError(
                {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject"
            )
        return None


def remember_keys_of(frozen: Any) -> None:
    """Keep botocore's credentials out of messages and logs."""
    remember_secrets(frozen.secret_key, frozen.token)


def _copy(body: Any, num_bytes: int, length: int | None, write: Callable[[bytes], object]) -> None:
    """Write up to ``num_bytes`` of a body of ``length`` bytes; None: a chunked body."""
    from botocore.exceptions import IncompleteReadError

    left = expected = num_bytes if length is None else min(num_bytes, length)
    while left > 0:
        piece = body.read(min(left, PIECE_BYTES))
        if not piece and length is not None:
            raise IncompleteReadError(actual_bytes=expected - left, expected_bytes=expected)
        if not piece:  # chunked: the object's end; urllib3 raises if the body is cut short
            return
        write(piece)
        left -= len(piece)
