"""URIs: which store they name, and which are refused."""

import re
from pathlib import Path

import pytest

from job.config.errors import ConfigError
from job.config.storage import StorageSpec
from job.storage.uri import open_store
from tests.storage.uri_cases import ACCEPTED, REFUSED


@pytest.mark.parametrize(("uri", "opened"), ACCEPTED.items())
def test_a_uri_opens_its_store(uri: str, opened: str) -> None:
    assert open_store(uri).uri == opened


def test_a_relative_path_is_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("runs/one")
    monkeypatch.chdir("/")
    store.write("k", b"data")
    assert (tmp_path / "runs/one/k").read_bytes() == b"data"


@pytest.mark.parametrize(("uri", "text"), REFUSED.items())
def test_a_wrong_uri_is_a_configuration_error(uri: str, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        open_store(uri)


def test_a_password_in_a_uri_is_refused_and_not_shown() -> None:
    with pytest.raises(
        ConfigError, match="has an @ before its prefix; expected s3://bucket/prefix"
    ) as caught:
        open_store("s3://someone:pass-word@bucket/runs")
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9000", "localhost", "ftp://host", "http://", "http://host:port"]
)
def test_a_wrong_endpoint_is_a_configuration_error(url: str) -> None:
    with pytest.raises(
        ConfigError, match=f"storage.endpoint_url is '{url}'; expected http://host:port"
    ):
        open_store("s3://bucket", StorageSpec(endpoint_url=url))


@pytest.mark.parametrize(
    "name", ["storage.endpoint_url", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]
)
def test_a_password_in_the_endpoint_is_refused_and_not_shown(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://someone:pass-word@host:9000"
    if name.startswith("AWS"):
        monkeypatch.setenv(name, url)
    with pytest.raises(ConfigError, match=f"{name} holds a user or password") as caught:
        open_store("s3://bucket", StorageSpec(endpoint_url=None if name.startswith("AWS") else url))
    assert "pass-word" not in str(caught.value)
