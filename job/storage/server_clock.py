"""The clock of an S3 server: signatures are valid for 15 minutes on either side of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from job.config.storage import StorageSpec
from job.storage.s3_client import client_for
from job.storage.uri import split_s3

MAX_OFFSET_SECONDS = 900.0  # S3 refuses requests that are further apart: RequestTimeTooSkewed


def _now() -> datetime:
    return datetime.now(UTC)


def clock_offset(uri: str, spec: StorageSpec, now: Callable[[], datetime] = _now) -> float | None:
    """Return the seconds by which this machine's clock is ahead of the server's, to the second.

    None if the server does not answer, or without a date. An answer that denies access has one too.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _ = split_s3(uri)
    try:
        answer = client_for(spec).list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        answer = error.response
    except BotoCoreError:
        return None
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return (now() - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return None
