"""Hostile inputs: valid documents and archives, broken anywhere in ways that programs overlook.

Everything depends on one ``random.Random``: hypothesis gives one that it can shrink, the long run
one with a seed.
"""

import copy
import json
from random import Random
from typing import Any

RAW = "@raw:{}@"  # is replaced by text that ``json.dumps`` would not write
RAWS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "9" * 4300, "-" + "9" * 5000,
    "0." + "3" * 5000, "1" + "0" * 308, "-0", "01", "[" * 100_000, "[" * 900 + "]" * 900,
    '{"a":' * 900 + "1" + "}" * 900, '{"a":' * 100_000,
    '"\\udcff"', '"\\ud800"', '"\\u0000"', "'a'",
    "[" + "0," * 2000 + "0]", "[" + "{}," * 2000 + "{}]", '{"a":1,"a":{}}', "tru", "", "// comment",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 255, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**12, 10**308,
    10**400, 0.0, -0.0, 0.5, 1.0, 1e308, 5e-324,
)  # fmt: skip
TEXTS = (
    "", "a", "0", "1", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\a", "a\0b",
    "a\n", "\x1b[2J", "\u202e", "é", "🦊" * 50, "x" * 20_000, "f" * 64, "F" * 64, "0" * 63,
    "manifest.json", "index.json", ".npz", "a.npz", "a.keras", "a.npz\n", "a.pkl", "nan", "uint8",
)  # fmt: skip
CONTAINERS: tuple[Any, ...] = (
    [], {}, [[]], [{}], [None], [0], [1, 2, 3], [2**31, 2**31, 2**31], [2**62] * 3, [True, 1, 1],
    ["a"], {"a": 1}, {"": {}}, {"a\n": "b"}, {"a": {"b": {}}},
)  # fmt: skip
VALUES = (None, True, False, *NUMBERS, *TEXTS, *CONTAINERS)
_MAX_PLACES = 5000  # in a document, or its growth would be what is measured
INSERTED = (
    b"",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\xff" * 8,
    b"PK\3\4",
    b'"',
    b"{",
    b"[",
    b"\\u",
)


def hostile_json(valid: Any, random: Random) -> bytes:
    """Return ``valid`` with some nodes replaced, removed, repeated or renamed.

    At times also with its text or bytes broken.
    """
    document = copy.deepcopy(valid)
    for _ in range(random.choice((0, 1, 1, 1, 2, 5))):
        document = _changed(document, random)
    text = json.dumps(document, indent=random.choice((None, 2)), ensure_ascii=random.random() < 0.5)
    for number, raw in enumerate(RAWS):
        text = text.replace(f'"{RAW.format(number)}"', raw)
    data = text.encode(
        random.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "utf-32-be")), "surrogatepass"
    )
    return hostile_bytes(data, random) if random.random() < 0.25 else data


def hostile_bytes(valid: bytes, random: Random) -> bytes:
    """Return ``valid`` with bytes changed, inserted, removed, repeated, moved, or noise."""
    data = bytearray(valid)
    for _ in range(random.choice((1, 1, 2, 8))):
        start = random.randint(0, len(data))
        stop = min(len(data), start + random.choice((0, 1, 1, 2, 4, 8, 64, 1000)))
        piece = bytes(data[start:stop])
        way = random.randint(0, 6)
        if way == 0:
            data[start:stop] = bytes(byte ^ (1 << random.randint(0, 7)) for byte in piece)
        elif way == 1:
            data[start:stop] = random.choice(INSERTED)
        elif way == 2:
            del data[start:]
        elif way == 3:
            data[start:stop] = piece * random.choice((2, 3, 100))
        elif way == 4:
            data[start:stop] = b""
            place = random.randint(0, len(data))
            data[place:place] = piece
        elif way == 5:
            data[start:stop] = random.randbytes(random.choice((1, 2, 4, 50)))
        elif random.random() < 0.1:
            data[:] = random.randbytes(random.randint(0, 200))
    return bytes(data)


def _changed(document: Any, random: Random) -> Any:
    """Return the document with one node changed; its containers are changed in place."""
    places = list(_places(document))
    if not places:
        return _value(random)
    if len(places) > _MAX_PLACES:
        return document
    container, place = random.choice(places)
    way = random.randint(0, 9)
    if way == 0:
        del container[place]
    elif way == 1 and isinstance(container, dict):
        container[random.choice(("", "a", "\udcff", "x" * 300, "name", str(place) + " "))] = (
            container.pop(place)
        )
    elif way == 1:
        container.insert(place, copy.deepcopy(container[place]))
    elif way == 2:  # another part of the document in its place
        other, there = random.choice(places)
        container[place] = copy.deepcopy(other[there])
    elif way == 3 and isinstance(container, list):
        container[place:] = [
            copy.deepcopy(container[place]) for _ in range(random.choice((2, 65, 300)))
        ]
    elif way == 4:
        container[place] = _wrapped(container[place], random.choice((1, 2, 6, 30)), random)
    else:
        container[place] = _value(random)
    return document


def _places(node: Any) -> Any:
    """Yield every (container, key or position) below ``node``."""
    for place in (
        list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    ):
        yield node, place
        yield from _places(node[place])


def _wrapped(node: Any, depth: int, random: Random) -> Any:
    for _ in range(depth):
        node = [node] if random.random() < 0.5 else {"a": node}
    return node


def _value(random: Random) -> Any:
    if random.random() < 0.3:
        return RAW.format(random.randrange(len(RAWS)))
    return copy.deepcopy(random.choice(VALUES))
