"""A real S3 server for a test run: versitygw over a temporary folder, with random credentials.

with s3_server() as server:
    bucket = server.new_bucket()
    subprocess.run([...], env=os.environ | server.env())
"""

import os
import secrets
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.tools import require_tool

REGION = "eu-test-1"
_STARTS = 3


class S3User(NamedTuple):
    access_key: str
    secret_key: str


@dataclass(frozen=True)
class S3Server:
    """A running server. Buckets are folders below ``folder``, objects files in them."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str
    folder: Path
    program: Path
    ca_bundle: Path | None = None

    def env(self) -> dict[str, str]:
        """Return the AWS variables for this server; they exclude this machine's configuration."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **({"AWS_CA_BUNDLE": str(self.ca_bundle)} if self.ca_bundle else {}),
        }

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set this process's AWS variables to those of this server, and no others."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in self.env().items():
            monkeypatch.setenv(name, value)

    def new_bucket(self, name: str = "test") -> str:
        """Create a bucket for one test: ``name`` with a random suffix."""
        import boto3
        from botocore.config import Config

        bucket = f"{name}-{secrets.token_hex(4)}"
        client = boto3.session.Session(
            self.access_key, self.secret_key, region_name=self.region
        ).client(
            "s3",
            endpoint_url=self.endpoint_url,
            verify=self.ca_bundle and str(self.ca_bundle),
            config=Config(s3={"addressing_style": "path"}),
        )
        client.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self.region}
        )
        return bucket

    def new_user(self, role: str = "user") -> S3User:
        """Create a user: a ``user`` has no access to existing buckets, an ``admin`` has all."""
        user = S3User(f"user{secrets.token_hex(6)}", secrets.token_urlsafe(24))
        self.admin(
            "create-user",
            "--role",
            role,
            "--access",
            user.access_key,
            f"--secret={user.secret_key}",
        )
        return user

    def admin(self, *command: str) -> None:
        """Run a command of the server's administration."""
        env = {
            "ADMIN_ACCESS_KEY_ID": self.access_key,
            "ADMIN_SECRET_ACCESS_KEY": self.secret_key,
            "ADMIN_ENDPOINT_URL": self.endpoint_url,
        }
        arguments = [self.program, "admin", "--region", self.region, *command]
        subprocess.run(arguments, env=os.environ | env, check=True, capture_output=True, timeout=30)


@contextmanager
def s3_server(address: str = "127.0.0.1", *, tls: bool = False) -> Iterator[S3Server]:
    """Run the server at a local address; skip or fail if the tool is missing.

    With ``tls`` its certificate, in ``ca_bundle``, is its own authority.
    """
    program = require_tool("versitygw")
    with tempfile.TemporaryDirectory(prefix="s3-server-") as folder:
        for start in range(1, _STARTS + 1):
            try:
                with _started(program, Path(folder), address, tls) as server:
                    yield server
                return
            except _NotStarted as error:  # another program took the port
                if start == _STARTS:
                    raise RuntimeError(str(error)) from None


class _NotStarted(Exception):
    pass


@contextmanager
def _started(program: Path, folder: Path, address: str, tls: bool) -> Iterator[S3Server]:
    for name in ("buckets", "sidecar", "users"):
        (folder / name).mkdir(exist_ok=True)
    port = free_port()
    certificate, key = _new_certificate(folder, address) if tls else (None, None)
    url = f"{'https' if tls else 'http'}://{address}:{port}"
    server = S3Server(
        url,
        f"test{secrets.token_hex(6)}",
        secrets.token_urlsafe(24),
        REGION,
        folder / "buckets",
        program,
        certificate,
    )
    options = (
        f"--port {address}:{port} --region {REGION} --iam-cache-disable --health /health"
        " --quiet --keep-alive"
    )
    command: list[str | Path] = [program, *options.split(), "--iam-dir", folder / "users", "posix"]
    command += (
        [folder / "buckets"]
        if _keeps_attributes(folder)
        else ["--sidecar", folder / "sidecar", folder / "buckets"]
    )
    if certificate and key:
        command[1:1] = ["--cert", certificate, "--key", key]
    # In the environment, so that the process list does not show them.
    env = os.environ | {
        "ROOT_ACCESS_KEY_ID": server.access_key,
        "ROOT_SECRET_ACCESS_KEY": server.secret_key,
    }
    with ExitStack() as stack:
        try:
            stack.enter_context(
                server_process(command, lambda: _healthy(server), folder / "server.log", env=env)
            )
        except RuntimeError as error:
            raise _NotStarted(str(error)) from None
        yield server


def _new_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Return the files of a certificate for ``address``, signed by itself, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=dcgan-train tests", "-addext", f"subjectAltName=IP:{address}"]
    kind = ["-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", key, "-out", certificate]
    arguments = [require_tool("openssl"), *command.split(), *names, *kind, *files]
    subprocess.run(arguments, check=True, capture_output=True)
    return certificate, key


def _keeps_attributes(folder: Path) -> bool:
    """Return whether files can carry an object's tag: not every file system has attributes."""
    try:
        os.setxattr(folder, "user.dcgan-test", b"1")
    except (AttributeError, OSError):  # AttributeError: macOS
        return False
    return True


def _healthy(server: S3Server) -> bool:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if server.ca_bundle:
        context = ssl.create_default_context(cafile=server.ca_bundle)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(f"{server.endpoint_url}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
