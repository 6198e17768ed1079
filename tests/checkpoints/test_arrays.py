"""The ``.npz`` parts: exact round trips, and refusals before memory is allocated."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from job.checkpoints import arrays
from job.checkpoints.arrays import pack, unpack
from job.config.errors import StorageError

VALUES = {
    "generator/project/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "../../escape": np.full((2, 1, 3, 1), 0.5, np.float32),
    "größe": np.float32([1.5]),
    "iterations": np.int64(7),
    "nothing": np.zeros((0, 5), np.float32),
}
EXPECTED = {name: (np.shape(value), np.asarray(value).dtype) for name, value in VALUES.items()}
ONE = {"a": ((3,), np.float32)}
A = np.float32([1, 2, 3])

Bytes = Callable[[], bytes]


@contextmanager
def little() -> Iterator[None]:
    """A few megabytes and a second, whatever a file says."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        assert time.process_time() - started < 1
    finally:
        tracemalloc.stop()


def npy(array: np.ndarray = A, **header: object) -> bytes:
    """A ``.npy`` file; ``header`` replaces what its header says."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {**np.lib.format.header_data_from_array_1_0(array), **header}
    )
    return file.getvalue() + array.tobytes()


def zipped(
    *entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
        archive.comment = comment
    return file.getvalue()


def text_header(header: str) -> bytes:
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header) + 1)
        + header.encode()
        + b"\n"
        + A.tobytes()
    )


def replaced(old: bytes, new: bytes, count: int = -1) -> bytes:
    data = pack({"a": A})
    assert old in data
    return data.replace(old, new, count)


def test_arrays_come_back_exactly() -> None:
    found = unpack(pack(VALUES), EXPECTED, "part")
    assert found.keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert (found[name].shape, found[name].dtype) == EXPECTED[name]
        assert np.array_equal(found[name], value)


def test_the_same_arrays_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(VALUES)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    turned = {name: np.asarray(value, order="F") for name, value in reversed(VALUES.items())}
    assert pack(turned) == data


def test_numpy_reads_what_we_write_and_we_what_numpy_writes() -> None:
    with np.load(io.BytesIO(pack(VALUES)), allow_pickle=False) as found:
        assert sorted(found.files) == sorted(VALUES)
        assert all(np.array_equal(found[name], value) for name, value in VALUES.items())
    file = io.BytesIO()
    np.savez(file, **VALUES)
    found = unpack(file.getvalue(), EXPECTED, "part")
    assert all(np.array_equal(found[name], value) for name, value in VALUES.items())


def test_an_archive_with_64_bit_sizes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``zipfile`` writes them beyond 2 GiB; here beyond 100 bytes."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    data = pack(VALUES)
    assert b"PK\6\6" in data
    assert np.array_equal(unpack(data, EXPECTED, "part")["iterations"], 7)


def test_arrays_take_their_size_once_and_cannot_be_written() -> None:
    values = np.zeros(4 << 20, np.float32)
    data = pack({"a": values})
    tracemalloc.start()
    found = unpack(data, {"a": (values.shape, values.dtype)}, "part")["a"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values.nbytes + (1 << 20)
    assert not found.flags.writeable


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"a": ((4,), np.float32)}, r"part: a has shape \(3,\); expected \(4,\)"),
        ({"a": ((1, 3), np.float32)}, r"part: a has shape \(3,\); expected \(1, 3\)"),
        ({"a": ((3,), np.int32)}, r"part: a has dtype '<f4'; expected '<i4'"),
        (
            {**ONE, "b": ((), np.int64)},
            r"part: missing \['b'\], not known here \[\]; expected the variables of this model and"
            " optimizer",
        ),
        ({}, r"part: missing \[\], not known here \['a'\]"),
        ({"b": ((3,), np.float32)}, r"part: missing \['b'\], not known here \['a'\]"),
    ],
)
def test_other_arrays_than_expected(expected: dict, message: str) -> None:
    with little(), pytest.raises(StorageError, match=message):
        unpack(pack({"a": A}), expected, "part")


NO_ZIP, NO_HEADER = (
    "expected uncompressed arrays as numpy.savez writes them",
    "a has no readable header",
)
COMPRESSED = r"a is compressed \(method 8\); expected an array that is not"
HOSTILE: dict[str, tuple[Bytes, str]] = {
    "empty": (lambda: b"", NO_ZIP),
    "no zip": (lambda: b"\x80\x04." * 100, NO_ZIP),
    "zip bomb": (
        lambda: zipped(("a.npy", bytes(1 << 28)), method=zipfile.ZIP_DEFLATED),
        COMPRESSED,
    ),
    "compressed": (lambda: zipped(("a.npy", npy()), method=zipfile.ZIP_DEFLATED), COMPRESSED),
    "encrypted": (
        lambda: zipped(("a.npy", npy())).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
        "encrypted.*; " + NO_ZIP,
    ),
    "shape beyond the data": (
        lambda: zipped(("a.npy", npy(shape=(2**60,)))),
        r"a has shape \(1152921504606846976,\); expected \(3,\)",
    ),
    "shape beyond 64 bits": (
        lambda: zipped(("a.npy", npy(shape=(2**70,)))),
        "a has shape .*; expected",
    ),
    "negative shape": (lambda: zipped(("a.npy", npy(shape=(-1,)))), "a has shape .*; expected"),
    "shape of a bool": (
        lambda: zipped(("a.npy", npy(shape=(True, 3)))),
        "a has shape .*; expected",
    ),
    "many dimensions": (lambda: zipped(("a.npy", npy(shape=(1,) * 500))), NO_HEADER),
    "too few values": (
        lambda: zipped(("a.npy", npy()[:-1])),
        "a has 11 bytes of values; expected 12",
    ),
    "too many values": (
        lambda: zipped(("a.npy", npy() + b"\0")),
        "a has 13 bytes of values; expected 12",
    ),
    "objects": (lambda: zipped(("a.npy", npy(descr="|O"))), r"a has dtype '\|O'; expected '<f4'"),
    "records": (
        lambda: zipped(("a.npy", npy(descr=[("x", "<f4")]))),
        "a has dtype .*; expected '<f4'",
    ),
    "big-endian": (
        lambda: zipped(("a.npy", npy(A.astype(">f4")))),
        "a has dtype '>f4'; expected '<f4'",
    ),
    "dtype of another size": (
        lambda: zipped(("a.npy", npy(descr="<f8"))),
        "a has dtype '<f8'; expected '<f4'",
    ),
    "dtype of text": (lambda: zipped(("a.npy", npy(descr="<U999999999"))), NO_HEADER),
    "Fortran order": (
        lambda: zipped(("a.npy", npy(fortran_order=True))),
        "a is in Fortran order; expected C order",
    ),
    "header of brackets": (lambda: zipped(("a.npy", text_header("(" * 900))), NO_HEADER),
    "long header": (lambda: zipped(("a.npy", text_header("(" * 60000))), NO_HEADER),
    "header that computes": (
        lambda: zipped(("a.npy", text_header("{'descr': '<f4', 'shape': (9**9**9,)}"))),
        NO_HEADER,
    ),
    "header beyond the file": (
        lambda: zipped(("a.npy", b"\x93NUMPY\x01\x00\xff\xff{" + bytes(10))),
        NO_HEADER,
    ),
    "no header": (lambda: zipped(("a.npy", b"")), NO_HEADER),
    "later version": (lambda: zipped(("a.npy", npy().replace(b"NUMPY\1", b"NUMPY\3"))), NO_HEADER),
    "twice": (
        lambda: pack({"a": A, "b": A}).replace(b"b.npy", b"a.npy"),
        "an array is there twice",
    ),
    "one more": (
        lambda: zipped(("a.npy", npy()), ("../../evil.npy", npy())),
        r"not known here \['../../evil'\]",
    ),
    "none": (lambda: zipped(), "does not begin with an array; " + NO_ZIP),
    "bytes before": (lambda: b"#!" + pack({"a": A}), "does not begin with an array; " + NO_ZIP),
    "no array": (lambda: zipped(("a.npy", npy()), ("a.pickle", b"")), "not known here"),
    "name that is not text": (lambda: replaced(b"a.npy", b"\xff.npy"), "missing"),
    "name as long as can be": (lambda: zipped(("a" * 60000 + ".npy", npy())), "not known here"),
    "many entries": (
        lambda: zipped(*((f"{number}.npy", b"") for number in range(20_000))),
        "expected at most 10,000",
    ),
    "another name in the directory": (lambda: replaced(b"a.npyPK\5\6", b"b.npyPK\5\6"), "missing"),
    "another size in the directory": (
        lambda: replaced(struct.pack("<IIH", 140, 140, 5), struct.pack("<IIH", 140, 100, 5)),
        "a is compressed",
    ),
    "too few in the directory": (lambda: replaced(b"PK\1\2", b"PK\5\6"), NO_ZIP),
    "another start of the directory": (
        lambda: pack({"a": A})[:-6] + struct.pack("<IH", 0, 0),
        NO_ZIP,
    ),
    "a changed value": (lambda: replaced(A.tobytes(), bytes(12)), "Bad CRC-32.*; " + NO_ZIP),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_part_is_refused(name: str) -> None:
    make, message = HOSTILE[name]
    data = make()
    with little(), pytest.raises(StorageError, match=message) as caught:
        unpack(data, ONE, "part")
    assert str(caught.value).startswith("part: ")
    assert len(str(caught.value)) < 400


def test_a_part_cut_short_anywhere_is_refused() -> None:
    data = pack({"a": A, "b": A})
    for length in range(len(data)):
        with pytest.raises(StorageError, match="part: "):
            unpack(data[:length], {**ONE, "b": ((3,), np.float32)}, "part")


def test_any_changed_byte_is_refused_or_changes_nothing() -> None:
    """Comments, times and attributes may be others; what NumPy sees is then the same too."""
    data = pack({"a": A})
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :]
        try:
            found = unpack(damaged, ONE, "part")
        except StorageError:
            continue
        assert np.array_equal(found["a"], A), place
        assert np.array_equal(np.load(io.BytesIO(damaged), allow_pickle=False)["a"], A), place


class Payload:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.path, "pwned")


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    payload, file = Payload(tmp_path / "pwned"), io.BytesIO()
    np.savez(file, a=np.array([payload] * 3, object))
    for data in (file.getvalue(), zipped(("a.npy", pickle.dumps(payload))), pickle.dumps(payload)):
        with little(), pytest.raises(StorageError, match="part: "):
            unpack(data, ONE, "part")
    assert list(tmp_path.iterdir()) == []


def test_object_arrays_are_not_packed() -> None:
    with pytest.raises(ValueError, match="allow_pickle=False"):
        pack({"a": np.array([{}], object)})


def test_the_limit_is_above_what_we_write() -> None:
    assert len(pack({f"layer_{number}/kernel": A for number in range(1000)})) < 1 << 20
    assert arrays.MAX_ARRAYS > 1000
