"""Sizes in bytes as people write them: ``64MiB``, ``1.5 GB``, ``67108864``."""

import re

EXAMPLES = "64MiB, 1GB or 67108864"
_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}


def parse_bytes(text: str) -> int | None:
    """The number of bytes, at least 1; None where ``text`` is no such size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?I?B?)", text.strip().upper())
    if not match or match[2] not in _UNITS:
        return None
    return int(float(match[1]) * _UNITS[match[2]]) or None


def bytes_text(num_bytes: int) -> str:
    """A size for people: ``512 MB``; digits only as far as they matter."""
    for unit in ("TB", "GB", "MB", "kB"):
        if (number := num_bytes / _UNITS[unit.upper()]) >= 1:
            return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{num_bytes} bytes"
