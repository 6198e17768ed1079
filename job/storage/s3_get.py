"""One GET of a part of an object, with no more of boto3 than it takes: its signature, its connections, its exceptions.

``client.get_object`` costs 1.5 ms of processor time on one core, twice what this does. Most of it goes into choosing an endpoint that stays the same
and into parsing headers that nobody reads. What is not answered with bytes is asked again of boto3, which knows what it means: a redirect to another
region, or an error.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from job.storage.store import PIECE_BYTES

_RETRY_LATER = (429, 500, 502, 503, 504)  # said once; asking boto3 too would press a busy server twice


class RangeIgnored(Exception):
    """The server sent the whole object where a part of it was asked for."""

    def __init__(self, start: int) -> None:
        super().__init__(f"asked for bytes from {start} on, the server sent the whole object; expected an S3 server")


class Getter:
    """GETs of objects in one bucket. Threads share one."""

    def __init__(self, client: Any, credentials: Any, bucket: str) -> None:
        """``client`` sends each request once; ``credentials`` are botocore's, which renew themselves where they can."""
        signed = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
        self.client = client
        self._bucket = bucket
        self._base_url = signed.partition("?")[0].removesuffix("k")
        self._credentials = credentials
        self._host = urlsplit(self._base_url).netloc
        self._http = client._endpoint.http_session  # with the connections, certificates and proxies that boto3 found to be right
        self._is_direct = credentials is not None and self._base_url.endswith("/")

    def get(self, key: str, start: int, num_bytes: int, write: Callable[[bytes], object]) -> None:
        """Hand the bytes to ``write``, piece by piece; fewer only at the object's end. Exceptions are those of botocore and urllib3."""
        part = f"bytes={start}-{start + num_bytes - 1}"
        answer = self._direct(key, part) if self._is_direct else None
        if answer is not None and answer.status_code not in (200, 206):
            answer = None
        if answer is not None:
            status, length, body = answer.status_code, int(answer.headers["Content-Length"]), answer.raw
        else:
            found = self.client.get_object(Bucket=self._bucket, Key=key, Range=part)
            self._is_direct = False  # boto3 got what we did not, so it knows a way that we do not
            status, length, body = found["ResponseMetadata"]["HTTPStatusCode"], found["ContentLength"], found["Body"]
        try:
            if start > 0 and status != 206:
                raise RangeIgnored(start)
            _hand_over(body, min(num_bytes, length), write)
        finally:
            body.close()  # one that was read to its end has given its connection back already

    def _direct(self, key: str, part: str) -> Any:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import ClientError

        request = AWSRequest("GET", self._base_url + quote(key, safe="/~"), {"Range": part}, stream_output=True)
        S3SigV4Auth(self._credentials.get_frozen_credentials(), "s3", self.client.meta.region_name).add_auth(request)
        answer = self._http.send(request.prepare())
        if answer.status_code in (200, 206):
            return answer
        told = answer.content.decode(errors="replace")[:4096]
        if answer.status_code in _RETRY_LATER:
            code, message = (re.search(rf"<{name}>([^<]*)</{name}>", told) for name in ("Code", "Message"))
            error = {"Code": code[1] if code else str(answer.status_code), "Message": message[1] if message else ""}
            raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": answer.status_code}}, "GetObject")
        return answer


def _hand_over(body: Any, num_bytes: int, write: Callable[[bytes], object]) -> None:
    from botocore.exceptions import IncompleteReadError

    left = num_bytes
    while left > 0:
        piece = body.read(min(left, PIECE_BYTES))
        if not piece:
            raise IncompleteReadError(actual_bytes=num_bytes - left, expected_bytes=num_bytes)
        write(piece)
        left -= len(piece)
