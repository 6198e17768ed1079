"""Errors of S3 and boto3, turned into ``StorageError`` with the URI, the cause and a remedy.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. Secrets are masked.
"""

import http.client
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from job.config.errors import StorageError
from job.storage.store import Interrupted, Reason
from job.telemetry.secrets import mask_secrets

T = TypeVar("T")


class _Meaning(NamedTuple):
    cause: str
    remedy: str


_NO_BUCKET = _Meaning(
    "there is no bucket {bucket!r} at {endpoint}",
    "create it, or correct the URI or storage.endpoint_url",
)
_DENIED = _Meaning(
    "access denied",
    "allow these credentials s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there"
    " (or does the bucket demand headers? See storage.request_payer and"
    " storage.server_side_encryption)",
)
_EXPLICIT = _Meaning(
    "a policy denies the request",
    "if it demands headers, set storage.server_side_encryption, storage.kms_key_id, storage.acl or"
    " storage.request_payer; else have the policy changed",
)
_KMS = _Meaning(
    "the KMS key cannot be used",
    "check storage.kms_key_id, and allow these credentials kms:GenerateDataKey and kms:Decrypt with"
    " it",
)
_KEYS = _Meaning(
    "the server does not accept the credentials",
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
)
_EXPIRED = _Meaning(
    "the credentials have expired",
    "fetch new ones (`aws sso login`, a fresh AWS_SESSION_TOKEN) and start again",
)
_REGION = _Meaning("wrong region", "set storage.region (or AWS_REGION) to {region}")
_BUSY = _Meaning(
    "the server is overloaded or failing", "try again later, or raise storage.max_attempts"
)
_CLOCK = _Meaning(
    "this machine's clock and the server's are too far apart",
    "set the clock (for example with NTP)",
)
_FULL = _Meaning(
    "the store is full or the quota is used up", "free some space there or choose another place"
)
_ARCHIVED = _Meaning(
    "the object is in an archive of the store",
    "restore it, or copy it to a storage class that can be read at once",
)
_UNSUPPORTED = _Meaning(
    "the server lacks what this request needs",
    "if it refuses checksums, set storage.checksums=when_required",
)
# Versity's gateway 1.8 leaves the end of an upload's body over TLS to the next request.
_MISREAD = _Meaning(
    "the server could not read the request",
    "if it is not Amazon's, set storage.checksums=when_required; check the proxy between",
)
_UNREACHABLE = _Meaning(
    "cannot reach {endpoint}",
    "check storage.endpoint_url (or AWS_ENDPOINT_URL), the server and the network between",
)
_NO_CREDENTIALS = _Meaning(
    "found no credentials",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or a role for the pod",
)
_PROFILE = _Meaning("the AWS profile cannot be used", "check AWS_PROFILE and ~/.aws/config")
_CUT = _Meaning(
    "the answer was cut short or damaged", "check the network and the proxy between, and try again"
)
_NOT_S3 = _Meaning(
    "{endpoint} responds, but not with the S3 protocol",
    "check storage.endpoint_url: the S3 port, not a console's",
)
_OTHER = _Meaning("the server refused", "see what the server said")

_CODES = {
    _NO_BUCKET: "NoSuchBucket",
    _DENIED: "AccessDenied AllAccessDisabled AccountProblem Forbidden UnauthorizedAccess 403",
    _KEYS: "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken InvalidSecurity 401",
    _EXPIRED: "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired",
    _REGION: "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed"
    " IllegalLocationConstraintException 301 307",
    _BUSY: "SlowDown ServiceUnavailable InternalError Throttling ThrottlingException"
    " RequestLimitExceeded 429 500 502 503 504",
    _CLOCK: "RequestTimeTooSkewed",
    _FULL: "QuotaExceeded XMinioAdminBucketQuotaExceeded XMinioStorageFull"
    " InsufficientCapacity 507",
    _ARCHIVED: "InvalidObjectState",
    _UNSUPPORTED: "NotImplemented XAmzContentSHA256Mismatch BadDigest MissingContentLength 501",
    _MISREAD: "BadRequest",
    _KMS: "KMS",  # KMS.DisabledException, KMS.NotFoundException and so on
    _NOT_S3: "404 405",  # S3's own codes are names: NoSuchKey, NoSuchBucket, MethodNotAllowed
}
_BY_CODE = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}
# Names of exceptions, looked up along the class's ancestors, so that botocore is not loaded here.
_BY_EXCEPTION = {
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "CredentialRetrievalError": _NO_CREDENTIALS,
    "ProfileNotFound": _PROFILE,
    "ConfigParseError": _PROFILE,
    "UnauthorizedSSOTokenError": _EXPIRED,
    "SSOTokenLoadError": _EXPIRED,
    "TokenRetrievalError": _EXPIRED,
    "NoRegionError": _REGION,
    "InvalidRegionError": _REGION,
    "SSLError": _Meaning(
        "no TLS connection to {endpoint}",
        "check the certificate (AWS_CA_BUNDLE: your own authority), and http or https",
    ),
    "IncompleteReadError": _CUT,
    "ResponseStreamingError": _CUT,
    "FlexibleChecksumError": _CUT,
    "ResponseParserError": _NOT_S3,
    # botocore 1.44 requests the bucket's region after each 301, also if the answer is a 301.
    "RecursionError": _Meaning(
        "{endpoint} redirects every request",
        "check http or https in storage.endpoint_url, and storage.region",
    ),
    "HTTPClientError": _UNREACHABLE,
    "HTTPError": _UNREACHABLE,
    "ConnectionError": _UNREACHABLE,
    "ParamValidationError": _Meaning(
        "boto3 refuses the request", "check the bucket's name and the key"
    ),
}

# Transient errors by the server's code, by its status, and by the exception's class and ancestors.
_REASON_CODES: dict[Reason, str] = {
    "throttled": "SlowDown ServiceUnavailable Throttling ThrottlingException RequestLimitExceeded"
    " TooManyRequests",
    "server_error": "InternalError",
    "timeout": "RequestTimeout",
    "credentials": "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken ExpiredToken"
    " ExpiredTokenException TokenRefreshRequired RequestExpired",
}
_REASON_BY_CODE = {
    code: reason for reason, codes in _REASON_CODES.items() for code in codes.split()
}
_REASON_BY_EXCEPTION: dict[str, Reason] = {
    "NoCredentialsError": "credentials",
    "CredentialRetrievalError": "credentials",
    "ReadTimeoutError": "timeout",
    "ConnectTimeoutError": "timeout",
    "IncompleteReadError": "truncated",
    "ResponseParserError": "server_error",
    "HTTPClientError": "connection",
    "ConnectionError": "connection",
    "HTTPError": "connection",  # urllib3's, which botocore does not wrap while a body is read
}


def storage_error(uri: str, action: str, endpoint: str | None, error: Exception) -> StorageError:
    """Return the error for a failed ``action`` at ``uri``; ``Interrupted`` if a retry may help.

    ``error`` is an exception of botocore, s3transfer or urllib3.
    """
    response = getattr(error, "response", None)
    details = response.get("Error", {}) if isinstance(response, dict) else {}
    status = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    code = str(details.get("Code", ""))
    meaning = (
        _denial(details.get("Message") or "")
        if _BY_CODE.get(code) is _DENIED
        else _BY_CODE.get(code.partition(".")[0])
    )
    by_status = _BY_CODE.get(str(status.get("HTTPStatusCode", "")))
    if by_status in (_DENIED, _NOT_S3) and code and not code.isdigit():
        by_status = None  # S3's own code for another error; many share these statuses
    meaning = meaning or by_status or _by_class(_BY_EXCEPTION, error) or _OTHER
    said = (
        f"{code}: {details.get('Message') or 'no message'}"
        if code
        else f"{type(error).__name__}: {error}"
    )
    if attempts := status.get("RetryAttempts"):
        said += f", after {attempts + 1} attempts"
    region = (
        details.get("Region")
        or status.get("HTTPHeaders", {}).get("x-amz-bucket-region")
        or "the bucket's region"
    )
    names = {
        "bucket": uri.removeprefix("s3://").split("/")[0],
        "endpoint": endpoint or "Amazon S3",
        "region": region,
    }
    cause, remedy = meaning.cause.format(**names), meaning.remedy.format(**names)
    text = f"{uri}: cannot {action}: {cause} ({said}); {remedy}"
    text = mask_secrets(" ".join(text.split()))  # servers and proxies may echo requests
    reason = (
        _REASON_BY_CODE.get(code)
        or _reason_of_status(status.get("HTTPStatusCode"))
        or _reason_of(error)
    )
    return Interrupted(text, reason) if reason else StorageError(text)


def _reason_of_status(status: int | None) -> Reason | None:
    """Return the reason of an HTTP status; 501 and 507 (not implemented, full) are permanent."""
    if status in (429, 503):
        return "throttled"
    if status == 408:
        return "timeout"
    is_failure = status is not None and status >= 500 and status not in (501, 507)
    return "server_error" if is_failure else None


def _reason_of(error: BaseException) -> Reason | None:
    """Return the reason of an exception; botocore's ``ResponseStreamingError`` wraps urllib3's."""
    wrapped = getattr(error, "kwargs", {}).get("error")
    if any(isinstance(part, http.client.IncompleteRead) for part in getattr(wrapped, "args", ())):
        return "truncated"
    return _by_class(_REASON_BY_EXCEPTION, error)


def _denial(message: str) -> _Meaning:
    """Return the meaning of AccessDenied: its message names a policy or a KMS key."""
    if "kms:" in message:
        return _KMS
    return _EXPLICIT if "explicit deny" in message else _DENIED


def _by_class(table: Mapping[str, T], error: BaseException) -> T | None:
    """Return the entry of the error's class, or of its nearest ancestor."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((table[name] for name in names if name in table), None)
