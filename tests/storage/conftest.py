"""Credentials for servers that do not check them."""

import pytest


@pytest.fixture
def any_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-servers-that-do-not-check")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
