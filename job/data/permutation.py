"""Hashes and permutations that are the same on every machine, for ever.

NumPy's generators may change between versions (NEP 19), so a shuffle that must be repeated years
later is computed here: SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
generators") as a keyed hash of a counter, and a permutation as the stable order of the hashes.

    key = fold(seed, epoch, stream)
    rows = permutation(key, 16384)
"""

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB


def fold(*parts: int) -> int:
    """Return a 64-bit key of any integers; another order or number of them gives another key."""
    key = len(parts)
    for part in parts:
        key = _mix((key + _GOLDEN) ^ _mix(part + _GOLDEN))
    return key


def hash_range(key: int, start: int, stop: int) -> NDArray[np.uint64]:
    """Return the hashes of ``start ... stop - 1`` under ``key``: uniform uint64."""
    x = np.arange(start + 1, stop + 1, dtype=np.uint64)  # wraps modulo 2**64, as SplitMix64 wants
    x *= np.uint64(_GOLDEN)
    x += np.uint64(key & _MASK)
    x ^= x >> np.uint64(30)
    x *= np.uint64(_MULTIPLIER_1)
    x ^= x >> np.uint64(27)
    x *= np.uint64(_MULTIPLIER_2)
    x ^= x >> np.uint64(31)
    return x


def uniform(key: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return a uniform number in [0, 1) for each of ``start ... stop - 1``."""
    return (hash_range(key, start, stop) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(key: int, num_items: int) -> NDArray[np.int64]:
    """Return ``0 ... num_items - 1`` in an order drawn by ``key``."""
    return np.argsort(hash_range(key, 0, num_items), kind="stable")


def _mix(x: int) -> int:
    x &= _MASK
    x = ((x ^ (x >> 30)) * _MULTIPLIER_1) & _MASK
    x = ((x ^ (x >> 27)) * _MULTIPLIER_2) & _MASK
    return x ^ (x >> 31)
