"""Access to S3. Credentials are never part of a configuration: boto3 finds them.

In the environment, a profile, IRSA or the instance.
"""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from job.config.errors import ConfigError
from job.config.fields import Positive, PositiveNumber, Section


class StorageSpec(Section):
    """Options of ``s3://`` stores; ``file://`` needs none."""

    endpoint_url: str | None = None
    """S3 endpoint; unset: `AWS_ENDPOINT_URL` or Amazon's own."""
    region: str | None = None
    """S3 region; unset: `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's."""
    path_style: bool | None = None
    """Address buckets as `endpoint/bucket`; unset: yes with a custom endpoint, no on Amazon's
    own."""
    checksums: Literal["when_supported", "when_required"] = "when_supported"
    """`when_required` for S3-compatible stores that refuse the CRC checksums of boto3 >= 1.36, or
    misread them, as Versity's gateway 1.8 does over TLS."""
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Encryption that S3 applies to what is written; unset: the bucket's default."""
    kms_key_id: str | None = None
    """Id or ARN of the KMS key for `aws:kms` and `aws:kms:dsse`; unset: the account's own for
    S3."""
    request_payer: Literal["requester"] | None = None
    """`requester` for requester-pays buckets: the user's account pays."""
    acl: Literal["bucket-owner-full-control"] | None = None
    """Access control list of what is written, for buckets of another account."""
    max_attempts: Positive = 8
    """Attempts per request, with adaptive back-off."""
    connect_timeout_seconds: PositiveNumber = 10.0
    """Seconds to wait for a connection."""
    read_timeout_seconds: PositiveNumber = 60.0
    """Seconds to wait for more of a response."""
    max_connections: Positive = 16
    """Connections kept open per process."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Raise ``ConfigError`` for a wrong endpoint, or a key without KMS."""
        if self.endpoint_url is not None:
            check_endpoint("storage.endpoint_url", self.endpoint_url)
        if self.kms_key_id is not None and not (self.server_side_encryption or "").startswith(
            "aws:kms"
        ):
            raise ConfigError(
                "storage.kms_key_id is set, and storage.server_side_encryption is"
                f" {self.server_side_encryption or 'unset'};"
                " expected aws:kms or aws:kms:dsse with a key"
            )
        return self

    def request_fields(self) -> dict[str, str]:
        """Return what the bucket demands of requests, by the names that S3's API has for it.

        Each operation takes only some of them.
        """
        fields = {
            "ServerSideEncryption": self.server_side_encryption,
            "SSEKMSKeyId": self.kms_key_id,
            "RequestPayer": self.request_payer,
            "ACL": self.acl,
        }
        return {name: value for name, value in fields.items() if value is not None}


def check_endpoint(name: str, url: str) -> None:
    """Raise ``ConfigError`` unless ``url`` is a plain http(s) address without a password."""
    if "@" in url:  # not shown: the text before the @ may be a password
        raise ConfigError(
            f"{name} holds a user or password; expected only http(s)://host:port; "
            "give credentials as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not is_http_url(url):
        raise ConfigError(f"{name} is {url!r}; expected http://host:port or https://host[:port]")


def is_http_url(url: str) -> bool:
    """Return whether ``url`` has the scheme http or https, a host, and no impossible port."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        return False
