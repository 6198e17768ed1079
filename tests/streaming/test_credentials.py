"""Credentials that change during a run: of a web identity (IRSA) or in a mounted Secret."""

import json
import subprocess
import sys
import urllib.parse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore import credentials

from job.config.errors import StorageError
from job.config.storage import StorageSpec
from job.storage.retry import retry
from job.storage.s3 import S3Store
from job.storage.uri import open_store
from job.streaming import fetch
from tests.charts.helm import CHART
from tests.servers.s3 import S3Server, S3User
from tests.servers.scripted_s3 import Answer, Request, scripted_s3
from tests.streaming.sets import Heard, open_reader, pack_numbered

pytestmark = pytest.mark.s3
TOKEN = "a web identity token, as Kubernetes projects it into the pod"


class SecurityTokenService:
    """Answers AssumeRoleWithWebIdentity with the keys of ``user``, valid for ``minutes``."""

    def __init__(self, user: S3User, minutes: float) -> None:
        self.user, self.minutes = user, minutes

    def __call__(self, request: Request) -> Answer:
        asked = dict(urllib.parse.parse_qsl(request.body.decode()))
        assert (asked["Action"], asked["WebIdentityToken"]) == ("AssumeRoleWithWebIdentity", TOKEN)
        expires = (datetime.now(UTC) + timedelta(minutes=self.minutes)).isoformat()
        keys = (
            f"<AccessKeyId>{self.user.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{self.user.secret_key}</SecretAccessKey>"
        )
        # No session token: the S3 server knows its users by their keys alone.
        result = (
            f"<Credentials>{keys}<SessionToken/><Expiration>{expires}</Expiration></Credentials>"
        )
        name = "AssumeRoleWithWebIdentity"
        return Answer(
            200,
            f"<{name}Response><{name}Result>{result}</{name}Result></{name}Response>".encode(),
            {"Content-Type": "text/xml"},
        )


@pytest.fixture
def users(s3_server: S3Server) -> list[S3User]:
    """Two that may read everything."""
    return [s3_server.new_user(role="admin") for _ in range(2)]


@pytest.fixture
def data(s3_env: S3Server, tmp_path: Path) -> str:
    pack_numbered(tmp_path / "set", 1000, 20)
    bucket = s3_env.new_bucket()
    store = open_store(f"s3://{bucket}/set")
    for path in (tmp_path / "set").iterdir():
        store.upload(path, path.name)
    return store.uri


@pytest.mark.parametrize("minutes", [5, 60], ids=["renewed before it expires", "taken away"])
def test_a_web_identity_whose_keys_change(
    s3_env: S3Server,
    data: str,
    users: list[S3User],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    minutes: float,
) -> None:
    """boto3 renews keys with less than 15 minutes left; refused ones are read again before that."""
    (tmp_path / "token").write_text(TOKEN)
    service, heard = SecurityTokenService(users[0], minutes), Heard()
    with scripted_s3(service) as sts:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/trainer")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint_url)
        with open_reader(
            S3Store(data, StorageSpec()), tmp_path / "cache", listener=heard, fetch_ahead_batches=0
        ) as reader:
            reader.chunk(0, 5)
            service.user = users[1]
            delete(s3_env, users[0])
            for step in range(5, 80, 5):
                reader.chunk(step, 5)
        assert len(sts.requests) >= 2
    assert (heard.reasons["credentials"] > 0) == (minutes == 60)
    assert set(heard.reasons) <= {"credentials"}


def test_deleted_keys_end_the_run(
    s3_env: S3Server,
    data: str,
    users: list[S3User],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", users[0].access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", users[0].secret_key)
    monkeypatch.setattr(fetch, "CREDENTIAL_SECONDS", 1.0)
    with open_reader(
        S3Store(data, StorageSpec()), tmp_path / "cache", fetch_ahead_batches=0
    ) as reader:
        reader.chunk(0, 1)
        delete(s3_env, users[0])
        with pytest.raises(
            StorageError,
            match=(
                r"the server does not accept the credentials .* gave up because no valid"
                r" credentials appeared for 1 s"
            ),
        ):
            reader.chunk(40, 20)


@pytest.mark.parametrize(
    "minutes", [5, 60], ids=["read again before they expire", "read again when they are refused"]
)
def test_keys_replaced_in_a_mounted_secret(
    s3_env: S3Server,
    data: str,
    users: list[S3User],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
) -> None:
    """As the chart mounts credentials.existingSecret; kubelet swaps a link.

    Reads and writes follow.
    """
    folder, files = tmp_path / "keys", CHART / "files"
    program = tmp_path / "credentials.py"
    program.write_text(
        files.joinpath("credentials.py").read_text().replace("minutes=16", f"minutes={minutes}")
    )
    config = files.joinpath("aws-config").read_text()
    for path, here in {
        "/etc/dcgan-train/credentials.py": program,
        "/etc/dcgan-train-keys": folder,
        "python ": f"{sys.executable} ",
    }.items():
        assert path in config
        config = config.replace(path, str(here))
    (tmp_path / "aws-config").write_text(config)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))

    def mount(user: S3User) -> None:
        version = tmp_path / f"..{user.access_key}"
        version.mkdir()
        (version / "AWS_ACCESS_KEY_ID").write_text(user.access_key)
        (version / "AWS_SECRET_ACCESS_KEY").write_text(user.secret_key + "\n")
        (tmp_path / "swap").symlink_to(version)
        (tmp_path / "swap").replace(folder)

    mount(users[0])
    heard = Heard()
    store = S3Store(data, StorageSpec())
    with open_reader(store, tmp_path / "cache", listener=heard, fetch_ahead_batches=0) as reader:
        reader.chunk(0, 5)
        store.write("before", b"1")
        mount(users[1])
        delete(s3_env, users[0])
        for step in range(5, 80, 5):
            reader.chunk(step, 5)
        retry(lambda: store.write("after", b"2"), 5)
    assert store.read("after") == b"2"
    assert set(heard.reasons) == ({"credentials"} if minutes == 60 else set())


def test_mounted_keys_are_read_again_every_minute(tmp_path: Path) -> None:
    """boto3 renews 15 minutes before the end; a token is passed on; boto3 reports a missing key."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        (tmp_path / name).write_text(f"{name} of a Secret\n")
    command = [sys.executable, str(CHART / "files" / "credentials.py"), str(tmp_path)]
    before = datetime.now(UTC)
    printed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    left = (
        datetime.fromisoformat(printed.pop("Expiration"))
        - before
        - timedelta(seconds=credentials._DEFAULT_ADVISORY_REFRESH_TIMEOUT)
    )
    assert timedelta(minutes=1) <= left < timedelta(minutes=2)
    keys = {
        "AccessKeyId": "AWS_ACCESS_KEY_ID",
        "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
        "SessionToken": "AWS_SESSION_TOKEN",
    }
    assert printed == {"Version": 1} | {name: f"{file} of a Secret" for name, file in keys.items()}


def delete(server: S3Server, user: S3User) -> None:
    server.admin("delete-user", "--access", user.access_key)
