"""Access to S3. Credentials are never part of a configuration: boto3 finds them.

In the environment, a profile, IRSA or the instance.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from job.config.errors import ConfigError
from job.config.fields import key


@dataclass(frozen=True)
class StorageSpec:
    """Options of ``s3://`` stores; ``file://`` needs none."""

    endpoint_url: str | None = key(None, "S3 endpoint; unset: `AWS_ENDPOINT_URL` or Amazon's own.")
    region: str | None = key(
        None, "S3 region; unset: `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile's."
    )
    path_style: bool | None = key(
        None,
        "Address buckets as `endpoint/bucket`; unset: yes with a custom endpoint, no on Amazon's"
        " own.",
    )
    checksums: str = key(
        "when_supported",
        "`when_required` for S3-compatible stores that refuse the CRC checksums of boto3 >= 1.36.",
        choices=("when_supported", "when_required"),
    )
    server_side_encryption: str | None = key(
        None,
        "Encryption that S3 applies to what is written; unset: the bucket's default.",
        choices=("AES256", "aws:kms", "aws:kms:dsse"),
    )
    kms_key_id: str | None = key(
        None,
        "Id or ARN of the KMS key for `aws:kms` and `aws:kms:dsse`; unset: the account's own for"
        " S3.",
    )
    request_payer: str | None = key(
        None,
        "`requester` for requester-pays buckets: the user's account pays.",
        choices=("requester",),
    )
    acl: str | None = key(
        None,
        "Access control list of what is written, for buckets of another account.",
        choices=("bucket-owner-full-control",),
    )
    max_attempts: int = key(8, "Attempts per request, with adaptive back-off.", minimum=1)
    connect_timeout_seconds: float = key(10.0, "Seconds to wait for a connection.", above=0)
    read_timeout_seconds: float = key(60.0, "Seconds to wait for more of a response.", above=0)
    max_connections: int = key(16, "Connections kept open per process.", minimum=1)

    def __post_init__(self) -> None:
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
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        good = False
    if not good:
        raise ConfigError(f"{name} is {url!r}; expected http://host:port or https://host[:port]")
