"""A ``.npz`` part of a checkpoint: plain arrays by name. The same arrays give the same bytes.

    data = pack({"project/kernel": kernel})
    arrays = unpack(data, {"project/kernel": ((100, 6272), np.float32)}, "generator.npz")

``numpy.load`` reads it, too. ``unpack`` trusts nothing: it compares names, shapes, dtypes and sizes
with the expected ones before it allocates memory, and decompresses, unpickles and writes nothing.
The layout is that of ``numpy.savez``: a zip of NEP 1 files.
"""

import io
import math
import struct
import tokenize
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from job.config.errors import StorageError

MAX_ARRAYS = 10_000  # in one part

_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry; a clock would make the bytes differ
_FIRST_ENTRY, _DIRECTORY_ENTRY = b"PK\3\4", b"PK\1\2"
_MAX_HEADER_BYTES = 1024  # of an ``.npy``

Expected = Mapping[str, tuple[tuple[int, ...], DTypeLike]]


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the content of a ``.npz``, not compressed, in the order of names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.create_system = 3  # whatever this machine is
            with archive.open(entry, "w", force_zip64=True) as file:
                npy.write_array(
                    file, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False
                )
    return buffer.getvalue()


def unpack(data: bytes, expected: Expected, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays, read-only.

    Raise ``StorageError``, with part and array, unless names, shapes and dtypes are ``expected``.
    """
    if (count := data.count(_DIRECTORY_ENTRY)) > MAX_ARRAYS:  # zipfile makes an object of each
        raise StorageError(f"{name}: has about {count:,} arrays; expected at most {MAX_ARRAYS:,}")
    try:
        if not data.startswith(
            _FIRST_ENTRY
        ):  # zipfile would look for an archive behind other bytes; numpy.load would not
            raise zipfile.BadZipFile("the file does not begin with an array")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if len(entries) != len(archive.infolist()):
                raise zipfile.BadZipFile("an array is there twice")
            missing, surplus = (
                sorted(expected.keys() - entries.keys()),
                sorted(entries.keys() - expected.keys()),
            )
            if missing or surplus:
                shown = [key[:80] for key in surplus[:3]]
                raise StorageError(
                    f"{name}: missing {missing[:3]}, not known here {shown};"
                    " expected the variables of this model and optimizer"
                )
            return {
                key: _read(archive, entries[key], shape, np.dtype(dtype), f"{name}: {key}")
                for key, (shape, dtype) in expected.items()
            }
    # zipfile also raises RuntimeError (an encrypted entry, an unknown version) and ValueError
    # (an offset outside of the file).
    except (zipfile.BadZipFile, struct.error, RuntimeError, ValueError, EOFError, OSError) as error:
        raise StorageError(
            f"{name}: {error!s:.200}; expected uncompressed arrays as numpy.savez writes them"
        ) from None


def _read(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    where: str,
) -> NDArray[Any]:
    """Return one array; ``StorageError`` unless it is one of ``shape`` and ``dtype``."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise StorageError(
            f"{where} is compressed (method {entry.compress_type}); expected an array that is not"
        )
    with archive.open(entry) as file:
        head = io.BytesIO(file.read(_MAX_HEADER_BYTES))
    try:
        if (version := npy.read_magic(head)) != (1, 0):
            raise ValueError(f"version {version}")
        found_shape, is_fortran, found_dtype = npy.read_array_header_1_0(
            head, max_header_size=_MAX_HEADER_BYTES
        )
    except (ValueError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise StorageError(
            f"{where} has no readable header ({error!s:.80});"
            " expected that of a plain array (.npy, version 1.0)"
        ) from None
    if found_shape != shape:
        raise StorageError(
            f"{where} has shape {found_shape!s:.80}; expected {shape}. Another version of the"
            " program may have saved it: use another checkpoint, or another run folder (uri)"
        )
    if found_dtype != dtype:
        raise StorageError(
            f"{where} has dtype {npy.dtype_to_descr(found_dtype)!r:.80};"
            f" expected {npy.dtype_to_descr(dtype)!r}"
        )
    if is_fortran:
        raise StorageError(f"{where} is in Fortran order; expected C order")
    num_bytes, found_bytes = math.prod(shape) * dtype.itemsize, entry.file_size - head.tell()
    if found_bytes != num_bytes:
        raise StorageError(
            f"{where} has {found_bytes} bytes of values; expected {num_bytes} for shape {shape}"
        )
    return np.frombuffer(archive.read(entry), dtype, math.prod(shape), head.tell()).reshape(
        shape
    )  # the CRC-32 is checked, too
