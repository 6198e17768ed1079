"""Keys: relative paths that stay inside the store, and prefixes of internal files."""

import pytest

from job.config.errors import StorageError
from job.storage.keys import checked_key


@pytest.mark.parametrize("key", ["a", "a/b.json", ".hidden/..b", "a b/\u00e9", "~.a"])
def test_a_relative_path_is_accepted_unchanged(key: str) -> None:
    assert checked_key("file:///run", key) == key


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", ".", "a/./b", "../a", "a/../b", "a\0b"])
def test_an_ambiguous_path_is_refused(key: str) -> None:
    with pytest.raises(StorageError, match=r"file:///run: the key .* is not a path inside the"):
        checked_key("file:///run", key)


@pytest.mark.parametrize("key", [".~lock", "a/.~b/c"])
def test_a_name_of_internal_files_is_refused(key: str) -> None:
    with pytest.raises(StorageError, match=r"starts with '\.~', reserved for unfinished files"):
        checked_key("file:///run", key)
