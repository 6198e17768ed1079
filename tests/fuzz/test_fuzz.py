"""Parsers of files in a store take any content or say why not.

``python -m tests.fuzz`` tries more inputs.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import fuzz
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.slow

NAMES = sorted(TARGETS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_broken_document_is_taken_or_refused(name: str, random: Random) -> None:
    TARGETS[name].accepts(TARGETS[name].make(random))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_noise_is_refused(name: str, data: bytes) -> None:
    assert not TARGETS[name].accepts(data)


@pytest.mark.parametrize("name", NAMES)
def test_the_long_run_finds_both_kinds(name: str) -> None:
    """Inputs that are all refused at their first byte would find nothing."""
    found = fuzz(TARGETS[name], num_inputs=300, seed=0)
    assert found.num_accepted > 10
    assert found.num_refused > 100
