"""A ``.npz`` part of a checkpoint: plain arrays by name, as bytes and back. The same arrays give the same bytes.

    data = pack({"project/kernel": kernel})
    kernel = unpack(data, {"project/kernel": ((100, 6272), np.float32)}, "generator.npz")["project/kernel"]

``numpy.load`` reads it too. ``unpack`` believes nothing that it reads: before any array is made, everything must stand where ``pack`` (or
``numpy.savez``) puts it for the arrays that are expected. No header is evaluated, nothing is decompressed, unpickled or written to disk. The
layout is that of PKWARE's APPNOTE 6.3 (4.3.7 local header, 4.3.12 central directory, 4.3.14 to 4.3.16 its end, 4.5.3 sizes beyond 32 bits), around
NumPy's NEP 1.
"""

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from job.config.errors import StorageError

MAX_ARRAYS = 10_000  # in one part
MAX_NAME_BYTES = 1024

_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry; a clock would make the bytes differ
_LOCAL = struct.Struct("<4s2x2H4x3I2H")  # x: versions, times, attributes of files
_CENTRAL = struct.Struct("<4s2x3H4x3I4H6xI")
_END, _END_64, _LOCATOR = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
_ZIP64_VERSION = 45  # what a reader must know at most
_IS_UTF8 = 0x800  # the one flag an entry may have: its name is not ASCII
_IN_EXTRA = 0xFFFFFFFF  # this number stands in the zip64 field
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']{1,20})', 'fortran_order': (False|True), 'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\), \} *\n",
    re.DOTALL,
)
_MAX_NPY_HEADER = 1024

Expected = Mapping[str, tuple[tuple[int, ...], DTypeLike]]


class _Entry(NamedTuple):
    header: int  # where its local header stands
    start: int  # and its content, the ``.npy``
    num_bytes: int
    crc: int


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of a ``.npz``, not compressed, in the order of names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.create_system = 3  # whatever this machine is
            with archive.open(entry, "w", force_zip64=True) as file:
                npy.write_array(file, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def unpack(data: bytes, expected: Expected, name: str) -> dict[str, NDArray[Any]]:
    """The arrays, which must be ``expected`` by name, shape and dtype: read-only views into ``data``. ``StorageError`` names part and array."""
    try:
        entries, end = _read_entries(data)
        _check_directory(data, entries, end)
    except (_Malformed, struct.error) as error:
        problem = "ends too early" if isinstance(error, struct.error) else error
        raise StorageError(f"{name}: {problem}; expected uncompressed arrays as numpy.savez writes them, and nothing else") from None
    missing, surplus = sorted(expected.keys() - entries.keys()), sorted(entries.keys() - expected.keys())
    if missing or surplus:
        shown = [key[:80] for key in surplus[:3]]
        raise StorageError(f"{name}: missing {missing[:3]}, not known here {shown}; expected the variables of this model and optimizer")
    offsets = {key: _check_array(data, entries[key], shape, np.dtype(dtype), f"{name}: {key}") for key, (shape, dtype) in expected.items()}
    return {key: np.frombuffer(data, dtype, math.prod(shape), offsets[key]).reshape(shape) for key, (shape, dtype) in expected.items()}


class _Malformed(Exception):
    """Not the zip that we write; the caller adds which part it is."""


def _read_entries(data: bytes) -> tuple[dict[str, _Entry], int]:
    """What the local headers say, which follow each other from the first byte on; and where the directory begins."""
    entries: dict[str, _Entry] = {}
    at = 0
    while data[at : at + 4] == b"PK\3\4":
        _, flags, method, crc, stored, size, name_length, extra_length = _LOCAL.unpack_from(data, at)
        names_at, start = at + _LOCAL.size, at + _LOCAL.size + name_length + extra_length
        if name_length > MAX_NAME_BYTES:
            raise _Malformed(f"an entry has a name of {name_length} bytes")
        key = _key(data[names_at : names_at + name_length], flags, method)
        size, stored = _numbers((size, stored), data[names_at + name_length : start])
        if key in entries or len(entries) == MAX_ARRAYS:
            raise _Malformed(f"{key!r:.80} is there twice, or is one of more than {MAX_ARRAYS:,} arrays")
        if stored != size or size > len(data) - start:
            raise _Malformed(f"{key!r:.80} is said to have {size} bytes, {stored} of them stored, and {max(0, len(data) - start)} follow")
        entries[key] = _Entry(at, start, size, crc)
        at = start + size
    return entries, at


def _check_directory(data: bytes, entries: Mapping[str, _Entry], start: int) -> None:
    """The directory at the end, which other readers go by, says the same as the local headers, and no more."""
    at = start
    for key, entry in entries.items():
        signature, version, flags, method, crc, stored, size, name_length, extra_length, *others, header = _CENTRAL.unpack_from(data, at)
        names_at, at = at + _CENTRAL.size, at + _CENTRAL.size + name_length + extra_length
        if signature != b"PK\1\2" or version > _ZIP64_VERSION or _key(data[names_at : names_at + name_length], flags, method) != key:
            raise _Malformed(f"{key!r:.80} has no place of its own in the zip's directory")
        said = (*_numbers((size, stored, header), data[names_at + name_length : at]), crc, *others)
        if said != (entry.num_bytes, entry.num_bytes, entry.header, entry.crc, 0, 0):  # no comment, the first disk
            raise _Malformed(f"{key!r:.80} is another one in the zip's directory than where it stands")
    if data[at : at + _END_64.size + _LOCATOR.size + _END.size + 1] not in _ends(len(entries), at - start, start):
        raise _Malformed(f"what stands from byte {at} of {len(data)} on is not the end of a zip of {len(entries)} arrays")


def _ends(count: int, size: int, start: int) -> tuple[bytes, bytes]:
    """The end of a zip whose directory of ``size`` bytes begins at ``start``: for a small one, and for one beyond 2 GiB."""
    wide = _END_64.pack(b"PK\6\6", _END_64.size - 12, _ZIP64_VERSION, _ZIP64_VERSION, 0, 0, count, count, size, start)
    wide += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, size, min(start, _IN_EXTRA), 0)
    return end, wide + end


def _key(file_name: bytes, flags: int, method: int) -> str:
    """The array's name; also ``a/b`` and ``../a``, which are nothing but keys here."""
    try:
        text = file_name.decode()
    except UnicodeDecodeError:
        text = ""
    if method != zipfile.ZIP_STORED or flags != (0 if text.isascii() else _IS_UTF8) or not text.endswith(".npy"):
        raise _Malformed(f"entry {file_name!r:.80} has method {method}, flags {flags:#x}, or a name that is not one of an array")
    return text.removesuffix(".npy")


def _numbers(values: tuple[int, ...], extra: bytes) -> tuple[int, ...]:
    """The numbers of a header; those that are too large for it from its zip64 field, the only extra field there may be."""
    count = values.count(_IN_EXTRA)
    if extra[:4] != (struct.pack("<2H", 1, 8 * count) if count else b"") or len(extra) != (4 + 8 * count if count else 0):
        raise _Malformed(f"an entry has {len(extra)} bytes of extra fields; expected one for {count} large numbers")
    wide = iter(struct.unpack(f"<{count}Q", extra[4:]))
    return tuple(next(wide) if value == _IN_EXTRA else value for value in values)


def _check_array(data: bytes, entry: _Entry, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> int:
    """Where the values begin; ``StorageError`` unless they are those of such an array."""
    head = data[entry.start : entry.start + min(entry.num_bytes, _MAX_NPY_HEADER)]
    match = _NPY.match(head)
    if not match or len(match[0]) != 10 + int.from_bytes(head[8:10], "little"):
        raise StorageError(f"{where} begins with {head[:60]!r}; expected the header of a plain array (.npy, version 1.0)")
    found_dtype, found_shape = match[1].decode("latin-1"), tuple(int(size) for size in match[3].split(b",") if size.strip())
    if found_shape != shape:
        raise StorageError(f"{where} has shape {found_shape!s:.80}; expected {shape}")
    if found_dtype != npy.dtype_to_descr(dtype):
        raise StorageError(f"{where} has dtype {found_dtype!r}; expected {npy.dtype_to_descr(dtype)!r}")
    if match[2] == b"True":
        raise StorageError(f"{where} is in Fortran order; expected C order")
    num_bytes = math.prod(shape) * dtype.itemsize
    if entry.num_bytes - match.end() != num_bytes:
        raise StorageError(f"{where} has {entry.num_bytes - match.end()} bytes of values; expected {num_bytes} for shape {shape}")
    if zlib.crc32(memoryview(data)[entry.start : entry.start + entry.num_bytes]) != entry.crc:
        raise StorageError(f"{where} is damaged: its CRC-32 is not the one written with it; expected an intact part")
    return entry.start + match.end()
