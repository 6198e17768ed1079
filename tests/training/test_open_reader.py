"""The reader of one worker: in place, or through a cache that is large enough."""

import dataclasses
from pathlib import Path

import pytest

from job.config.errors import ConfigError
from job.training.open_reader import open_reader
from tests.streaming.sets import RemoteStore
from tests.training.alone import Recorder, alone, spec_of

pytestmark = pytest.mark.training


def test_a_cache_too_small_for_the_calls_is_refused(tmp_path: Path) -> None:
    """Only of a store that is read by requests: a local data set needs no cache."""
    small = spec_of(tmp_path, data__cache_bytes=1, data__cache_dir=tmp_path / "cache")
    context = alone(small, Recorder())
    with open_reader(context, 0) as reader:
        assert reader.chunk(0, 2).any()
    remote = dataclasses.replace(context, data_store=RemoteStore(tmp_path / "set"))
    with pytest.raises(ConfigError, match=r"data\.cache_bytes is 1"):
        open_reader(remote, 0)
