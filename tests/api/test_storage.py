"""Options of stores, as a mapping or checked already."""

import pytest

from job.api.storage import storage_spec
from job.config.errors import ConfigError
from job.config.storage import StorageSpec


def test_keys_of_the_storage_section() -> None:
    assert storage_spec({"region": "eu-west-1"}).region == "eu-west-1"
    assert storage_spec(None) == StorageSpec()
    spec = StorageSpec(region="eu-west-1")
    assert storage_spec(spec) is spec


def test_another_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"regoin.*region"):
        storage_spec({"regoin": "eu-west-1"})
