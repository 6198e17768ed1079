"""Credentials: such that servers do not check, and such that are replaced during a run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.scripted_s3 import Answer, Request, s3_error


@pytest.fixture
def any_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-servers-that-do-not-check")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


class RotatedKeys:
    """A credentials file with keys that the server refuses until ``rotate``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write("OLDKEY")

    def rotate(self) -> None:
        self._write("NEWKEY")

    def answer(self, good: Answer) -> Callable[[Request], Answer]:
        """Return a script: ``good`` for the new keys, a refusal for the old ones."""
        refusal = s3_error(403, "InvalidAccessKeyId", "The key does not exist.")
        return lambda request: (
            refusal if "Credential=OLDKEY/" in request.headers["Authorization"] else good
        )

    def _write(self, key: str) -> None:
        self._path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")


@pytest.fixture
def rotated_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RotatedKeys:
    """The only credentials of this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return RotatedKeys(tmp_path / "credentials")
