"""One GET of a part of an object, with no more of boto3 than it takes: its signature, its connections, its exceptions.

``client.get_object`` costs 1.5 ms of processor time on one core, twice what this does. Most of it goes into choosing an endpoint that stays the same
and into parsing headers that nobody reads. What is not answered with bytes is asked again of boto3, which knows what it means: a redirect to another
region, or an error.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from job.storage.store import PIECE_BYTES
from job.telemetry.secrets import remember_secrets

_MISSES = 3  # answers in a row that only boto3 could do something with, until it is asked at once


class RangeIgnored(Exception):
    """The server sent the whole object where a part of it was asked for."""

    def __init__(self, start: int) -> None:
        super().__init__(
            f"asked for bytes from {start} on, the server sent the whole object; expected an S3 server"
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
        """``client`` and ``http`` (a ``botocore.httpsession.URLLib3Session``) send each request once.

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
        self._misses = 0 if credentials is not None and self._base_url.endswith("/") else _MISSES

    def get(self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]) -> None:
        """Hand the bytes to ``write``, piece by piece; fewer only at the object's end. Exceptions are those of botocore and urllib3."""
        part = f"bytes={start}-{start + num_bytes - 1}"
        answer = self._direct(key, part) if self._misses < _MISSES else None
        if answer is not None:
            self._misses = 0
            status, length, body = (
                answer.status_code,
                answer.headers.get("Content-Length"),
                answer.raw,
            )
        else:
            found = self._client.get_object(Bucket=self._bucket, Key=key, Range=part)
            self._misses += 1  # boto3 got what we did not, so it may know a way that we do not
            status, length, body = (
                found["ResponseMetadata"]["HTTPStatusCode"],
                found.get("ContentLength"),
                found["Body"],
            )
        try:
            if start > 0 and status != 206:
                raise RangeIgnored(start)
            _hand_over(body, num_bytes, None if length is None else int(length), write)
        finally:
            body.close()  # one that was read to its end has given its connection back already

    def _direct(self, key: str, part: str) -> Any:
        """The answer with the bytes, or None for one that boto3 should see; raises for one that says to come again later."""
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
        told = answer.content.decode(errors="replace")[:4096]
        code, message = (
            found[1] if (found := re.search(rf"<{name}>([^<]*)</{name}>", told)) else ""
            for name in ("Code", "Message")
        )
        if (
            answer.status_code >= 500
            or answer.status_code in (408, 429)
            or code == "RequestTimeout"
        ):
            # Said once is enough; asking boto3 too would press a busy server twice.
            error = {"Code": code or str(answer.status_code), "Message": message}
            raise ClientError(
                {"Error": error, "ResponseMetadata": {"HTTPStatusCode": answer.status_code}},
                "GetObject",
            )
        return None


def remember_keys_of(frozen: Any) -> None:
    """Keep credentials, wherever botocore found them, out of messages and logs."""
    remember_secrets(frozen.secret_key, frozen.token)


def _hand_over(
    body: Any, num_bytes: int, length: int | None, write: Callable[[bytes], object]
) -> None:
    """Up to ``num_bytes`` of the body, which announced ``length`` bytes, or, in chunks, none."""
    from botocore.exceptions import IncompleteReadError

    left = expected = num_bytes if length is None else min(num_bytes, length)
    while left > 0:
        piece = body.read(min(left, PIECE_BYTES))
        if not piece and length is not None:
            raise IncompleteReadError(actual_bytes=expected - left, expected_bytes=expected)
        if (
            not piece
        ):  # chunked: the end is the object's end, and a cut is an exception of urllib3's
            return
        write(piece)
        left -= len(piece)
