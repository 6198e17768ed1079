"""Options of ``s3://`` stores, as callers of the API pass them."""

from collections.abc import Mapping
from typing import Any

from job.config.load import load_storage
from job.config.storage import StorageSpec

Storage = Mapping[str, Any] | StorageSpec | None
"""Keys of the section ``storage`` of ``run.yaml``, such as ``{"endpoint_url": ...}``."""


def storage_spec(storage: Storage) -> StorageSpec:
    """Return the checked options; ``ConfigError`` names a wrong key or value."""
    return storage if isinstance(storage, StorageSpec) else load_storage([], storage or {})
