"""Hashes and permutations: equal to the published generator, and to themselves for ever."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from job.data.permutation import fold, hash_range, permutation, uniform


def test_hash_is_splitmix64() -> None:
    # The first outputs of the reference implementation (Vigna, prng.di.unimi.it/splitmix64.c) for
    # the state 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert hash_range(1234567, 0, 5).tolist() == expected
    assert hash_range(1234567, 2, 4).tolist() == expected[2:4]


@given(st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_a_permutation_has_every_number_once(key: int, num_items: int) -> None:
    assert sorted(permutation(key, num_items).tolist()) == list(range(num_items))


def test_keys_depend_on_each_part_and_its_place() -> None:
    keys = {fold(), fold(0), fold(0, 0), fold(1, 0), fold(0, 1), fold(1), fold(-1), fold(2**64)}
    assert len(keys) == 7  # 2**64 is 0 modulo 2**64
    assert (
        fold(3, 1, 4) == 18350980434241775550
    )  # a changed hash would change the order of every run


def test_uniform_numbers_fill_their_range() -> None:
    numbers = uniform(fold(5), 0, 100_000)
    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert np.abs(counts - 10_000).max() < 500
