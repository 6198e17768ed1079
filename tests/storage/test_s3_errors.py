"""Errors of S3 name the URI, the cause and the remedy, and never a secret.

Against the real server where it can be made to refuse so; against scripted answers (the XML that S3
sends) where it cannot.
"""

import json
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.s3 import S3Store
from job.storage.store import ObjectMissing
from job.telemetry.secrets import mask_secrets
from tests.servers.ports import free_port
from tests.servers.s3 import S3Server
from tests.servers.scripted_s3 import Answer, s3_error, scripted_s3

SECRET, TOKEN, ACCESS_KEY = (
    "a-very-secret-key/0123456789",
    "a-very-secret-session-token==",
    "AKIAIOSFODNN7EXAMPLE",
)
ONCE = StorageSpec(max_attempts=1)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Credentials that look real, or the real server's if a test uses it."""
    if "s3_env" in request.fixturenames:
        return
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


def every_method(store: S3Store, folder: Path) -> dict[str, Callable[[], object]]:
    (folder / "source").write_bytes(b"data")
    return {
        "read": lambda: store.read("k"),
        "read_range": lambda: store.read_range("k", 0, 1),
        "stat": lambda: store.stat("k"),
        "write": lambda: store.write("k", b"data"),
        "write_if none": lambda: store.write_if("k", b"data", None),
        "write_if tag": lambda: store.write_if("k", b"data", "0123"),
        "upload": lambda: store.upload(folder / "source", "k"),
        "stream": lambda: store.stream("k", 0, 1, bytes),
        "list": lambda: list(store.list()),
        "delete": lambda: store.delete("k"),
    }


def assert_every_method_says(store: S3Store, folder: Path, text: str, *secrets: str) -> None:
    for name, use in every_method(store, folder).items():
        with pytest.raises(StorageError, match=text) as caught:
            use()
        assert str(caught.value).startswith(store.uri), name
        assert not isinstance(caught.value, ObjectMissing), name
        assert "\n" not in str(caught.value), name
        whole = "".join(traceback.format_exception(caught.value))
        for secret in (SECRET, TOKEN, *secrets):
            assert secret not in whole, name
    assert [path.name for path in folder.iterdir()] == ["source"]


@pytest.mark.s3
def test_a_missing_bucket(s3_env: S3Server, tmp_path: Path) -> None:
    text = (
        rf"there is no bucket 'no-such-bucket' at {s3_env.endpoint_url} \(NoSuchBucket: .*\);"
        r" create it, or correct the URI"
    )
    assert_every_method_says(
        S3Store("s3://no-such-bucket/runs", ONCE), tmp_path, text, s3_env.secret_key
    )


@pytest.mark.s3
def test_a_wrong_secret(s3_env: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = s3_env.new_bucket()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    text = (
        r"the server does not accept the credentials \(SignatureDoesNotMatch: .*\); check"
        r" AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
    assert_every_method_says(S3Store(f"s3://{bucket}", ONCE), tmp_path, text)


@pytest.mark.s3
def test_an_unknown_access_key(
    s3_env: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_env.new_bucket()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    text = (
        r"the server does not accept the credentials \(InvalidAccessKeyId: .*\); check"
        r" AWS_ACCESS_KEY_ID"
    )
    assert_every_method_says(S3Store(f"s3://{bucket}", ONCE), tmp_path, text, s3_env.secret_key)


@pytest.mark.s3
def test_a_user_without_rights(
    s3_env: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = s3_env.new_bucket()
    S3Store(f"s3://{bucket}/runs", ONCE).write("k", b"own")
    user = s3_env.new_user()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", user.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", user.secret_key)
    text = r"access denied \(AccessDenied: .*\); allow these credentials s3:GetObject, s3:PutObject"
    assert_every_method_says(S3Store(f"s3://{bucket}/runs", ONCE), tmp_path, text, user.secret_key)


@pytest.mark.s3
def test_a_wrong_region_is_learned_from_the_server(
    s3_env: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses the signature and names its region; boto3 signs again for that one."""
    store = S3Store(f"s3://{s3_env.new_bucket()}", StorageSpec(region="us-west-2", max_attempts=1))
    store.write("k", b"data")
    (tmp_path / "source").write_bytes(b"data")
    store.upload(tmp_path / "source", "other")
    fresh = S3Store(store.uri, StorageSpec(region="ap-east-1", max_attempts=1))
    assert fresh.read("k") == b"data"
    assert [info.key for info in fresh.list()] == ["k", "other"]


@pytest.mark.s3
def test_no_credentials(s3_env: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    text = (
        r"found no credentials \(NoCredentialsError: .*\); set AWS_ACCESS_KEY_ID and"
        r" AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )
    assert_every_method_says(S3Store("s3://bucket", ONCE), tmp_path, text)


def test_a_missing_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    text = (
        r"the AWS profile cannot be used \(ProfileNotFound: .*nobody.*\); check AWS_PROFILE and"
        r" ~/.aws/config"
    )
    assert_every_method_says(S3Store("s3://bucket", ONCE), tmp_path, text)


def test_nothing_listens_at_the_endpoint(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    store = S3Store("s3://bucket/runs", StorageSpec(endpoint_url=url, max_attempts=1))
    text = (
        rf"cannot reach {url} \(EndpointConnectionError: .*\); check storage.endpoint_url \(or"
        r" AWS_ENDPOINT_URL\), the server"
    )
    assert_every_method_says(store, tmp_path, text)


def test_the_endpoint_has_no_address(tmp_path: Path) -> None:
    store = S3Store(
        "s3://bucket", StorageSpec(endpoint_url="http://no-such-host.invalid", max_attempts=1)
    )
    assert_every_method_says(
        store, tmp_path, r"cannot reach http://no-such-host.invalid \(EndpointConnectionError"
    )


@pytest.mark.slow
def test_the_endpoint_takes_connections_and_never_answers(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=url, max_attempts=1, read_timeout_seconds=0.1)
        )
        assert_every_method_says(
            store, tmp_path, rf"cannot reach {url} \(ReadTimeoutError: Read timeout on endpoint URL"
        )


@pytest.mark.slow
def test_the_endpoint_speaks_no_tls(tmp_path: Path) -> None:
    with scripted_s3([Answer()]) as server:
        url = server.endpoint_url.replace("http:", "https:")
        store = S3Store("s3://bucket", StorageSpec(endpoint_url=url, max_attempts=1))
        assert_every_method_says(
            store,
            tmp_path,
            rf"no TLS connection to {url} \(SSLError: .*\); check the certificate .*, and http or"
            r" https",
        )


def test_the_endpoint_is_not_an_s3_server(tmp_path: Path) -> None:
    with scripted_s3(
        [
            Answer(
                404,
                b"<!doctype html><p>This console has no such page",
                {"Content-Type": "text/html"},
            )
        ]
    ) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        assert_every_method_says(
            store,
            tmp_path,
            rf"{server.endpoint_url} responds, but not with the S3 protocol .*the S3 port, not a"
            r" console's",
        )


def test_the_endpoint_redirects_everything(tmp_path: Path) -> None:
    """As a proxy does that wants https."""
    with scripted_s3([Answer(301, b"", {"Location": "https://127.0.0.1/"})]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        with pytest.raises(
            StorageError,
            match=(
                rf"cannot read: {server.endpoint_url} redirects every request .*; check http or"
                r" https"
            ),
        ):
            store.read("k")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code", "message", "extra", "text"),
    [
        (
            400,
            "ExpiredToken",
            "The provided token has expired.",
            f"<Token-0>{TOKEN}</Token-0>",
            "the credentials have expired .*fetch new ones",
        ),
        (
            400,
            "InvalidToken",
            f"The token {TOKEN} is malformed.",
            "",
            r"does not accept the credentials \(InvalidToken: The token \*\*\* is",
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            "the region is wrong",
            "",
            r"wrong region .*set storage.region",
        ),
        (
            400,
            "IllegalLocationConstraintException",
            "unsupported location",
            "",
            r"wrong region .*set storage.region",
        ),
        (
            403,
            "RequestTimeTooSkewed",
            "The difference is too large.",
            "",
            "clock and the server's are too far apart .*; set the clock",
        ),
        (
            403,
            "QuotaExceeded",
            "Quota of the bucket.",
            "",
            "the store is full or the quota is used up .*free some space",
        ),
        (
            400,
            "XMinioAdminBucketQuotaExceeded",
            "Bucket quota exceeded",
            "",
            "the store is full or the quota is used up",
        ),
        (
            403,
            "InvalidObjectState",
            "Not valid for the storage class.",
            "",
            "the object is in an archive .*restore it",
        ),
        (
            403,
            "NeverHeardOf",
            "With a known status.",
            "",
            r"the server refused \(NeverHeardOf: .*\); see what the server said",
        ),
        (
            405,
            "MethodNotAllowed",
            "Not against this resource.",
            "",
            r"the server refused \(MethodNotAllowed: .*\); see what the server said",
        ),
        (
            501,
            "NotImplemented",
            "A header implies what is not there.",
            "",
            "lacks what this request needs .*storage.checksums=when_required",
        ),
        (
            400,
            "BadRequest",
            "An error occurred when parsing the HTTP request.",
            "",
            "could not read the request .*storage.checksums=when_required",
        ),
        (
            503,
            "SlowDown",
            "Please reduce your request rate.",
            "",
            "the server is overloaded or failing .*SlowDown.*; try again later",
        ),
        (
            500,
            "InternalError",
            "We encountered an internal error.",
            "",
            "the server is overloaded or failing .*InternalError",
        ),
        (
            418,
            "NeverHeardOf",
            "Something else.",
            "",
            r"the server refused \(NeverHeardOf: Something else.*\); see what the server said",
        ),
    ],
)
def test_an_error_with_code_and_message(
    status: int, code: str, message: str, extra: str, text: str, tmp_path: Path
) -> None:
    with scripted_s3([s3_error(status, code, message, extra)]) as server:
        store = S3Store(
            "s3://bucket/runs", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        # An answer to HEAD has no body, and these are not repeated.
        if status in (
            405,
            418,
            500,
            501,
            503,
        ):
            with pytest.raises(StorageError, match=text):
                store.read("k")
        else:
            assert_every_method_says(store, tmp_path, text)


def test_a_short_secret_does_not_cut_up_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with scripted_s3([s3_error(403, "AccessDenied", "No.")]) as server:
        store = S3Store(
            "s3://test-images/tests", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        with pytest.raises(
            StorageError, match=r"^s3://test-images/tests/k: cannot read: access denied"
        ):
            store.read("k")


@pytest.mark.parametrize("way", ["file", "container"])
def test_keys_of_other_sources_are_masked(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In messages, also of the direct GET, and in log lines that are not the store's."""
    secret, token = f"{way}+secret/0123456789abcdefghij", f"{way}+token/0123456789abcdefghij=="
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    keys = {
        "AccessKeyId": ACCESS_KEY,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": "2999-01-01T00:00:00Z",
    }
    with scripted_s3([Answer(200, json.dumps(keys).encode())]) as container:
        if way == "container":
            monkeypatch.setenv(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.endpoint_url}/keys"
            )
        else:
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
            names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
            lines = [f"{name} = {value}" for name, value in zip(names, keys.values(), strict=False)]
            (tmp_path / "keys").write_text("\n".join(["[default]", *lines]))
        for use in (lambda store: store.read("k"), lambda store: store.stream("k", 0, 1, bytes)):
            with scripted_s3(
                [s3_error(400, "InvalidRequest", f"You sent {token}, signed with {secret}.")]
            ) as server:
                store = S3Store(
                    "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
                )
                with pytest.raises(StorageError, match=r"You sent \*\*\*, signed with \*\*\*\."):
                    use(store)
    assert mask_secrets(f"{secret} {token}") == "*** ***"


def test_a_failed_head_is_explained_by_its_status() -> None:
    with scripted_s3([s3_error(503, "SlowDown", "Please reduce your request rate.")]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        with pytest.raises(
            StorageError,
            match=(
                r"s3://bucket/k: cannot inspect: the server is overloaded or failing \(503:"
                r" Service Unavailable"
            ),
        ):
            store.stat("k")
        assert [request.method for request in server.requests] == ["HEAD"]


@pytest.mark.slow
def test_a_burst_of_slow_down_is_waited_out() -> None:
    busy = s3_error(503, "SlowDown", "Please reduce your request rate.")
    with scripted_s3([busy, busy, Answer(200, b"data")]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=3)
        )
        assert store.read("k") == b"data"
        assert len(server.requests) == 3


@pytest.mark.slow
def test_a_busy_server_is_reported_with_the_attempts() -> None:
    with scripted_s3([s3_error(503, "SlowDown", "Please reduce your request rate.")]) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=2)
        )
        with pytest.raises(
            StorageError, match=r"overloaded or failing \(SlowDown: .*, after 2 attempts\)"
        ):
            store.read("k")
        assert len(server.requests) == 2


def test_without_the_right_to_list_a_missing_object_is_named() -> None:
    """The listing that explains a 404 may be forbidden; the 404 is then reported."""

    def answer(request: object) -> Answer:
        return (
            Answer(404)
            if request.method == "HEAD"
            else s3_error(403, "AccessDenied", "Access Denied")
        )  # type: ignore[attr-defined]

    with scripted_s3(answer) as server:
        store = S3Store(
            "s3://bucket", StorageSpec(endpoint_url=server.endpoint_url, max_attempts=1)
        )
        assert store.stat("k") is None
        assert store.stat("k") is None
        # Explained once.
        assert [request.method for request in server.requests] == [
            "HEAD",
            "GET",
            "HEAD",
        ]
