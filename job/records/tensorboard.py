"""TensorBoard's event files, as bytes: scalars, pictures and restarts.

Knows no TensorFlow: the three messages that are needed are a few fields of Protocol Buffers' wire format, and loading the library that writes them
would cost a worker nothing but the driver and the tests seconds. Layout: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto,
and tensorflow/core/lib/io/record_writer.h for the records around them.
"""

import struct
from collections.abc import Mapping

_CASTAGNOLI = 0x82F63B78  # CRC-32C, bits reversed
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SESSION_START = 1
GROUPS = (
    ("health", ("loss", "probability", "gradient", "non_finite", "diversity", "rollbacks", "quality")),
    ("checkpoints", ("dcgan_checkpoint",)),
    ("data", ("dcgan_fetch", "dcgan_cache")),
    ("speed", ("per_second", "step_seconds", "_wait_seconds", "compute_seconds", "straggler")),
)


def version_event(time: float) -> bytes:
    """What every event file begins with."""
    return _record(_double(1, time) + _bytes(3, b"brain.Event:2"))


def restart_event(time: float, step: int) -> bytes:
    """Training went on from ``step``: what TensorBoard has read of later steps no longer counts."""
    return _record(_double(1, time) + _int(2, step + 1) + _bytes(7, _int(1, _SESSION_START)))


def scalars_event(time: float, step: int, values: Mapping[str, float]) -> bytes:
    """One point of each series, by its Prometheus name in the group it belongs to: ``health/dcgan_generator_loss``."""
    summary = b"".join(_bytes(1, _bytes(1, tag(name).encode()) + _float(2, value)) for name, value in values.items())
    return _record(_double(1, time) + _int(2, step) + _bytes(5, summary))


def picture_event(time: float, step: int, name: str, png: bytes, height: int, width: int) -> bytes:
    """A PNG at a step."""
    picture = _int(1, height) + _int(2, width) + _int(3, 3) + _bytes(4, png)
    return _record(_double(1, time) + _int(2, step) + _bytes(5, _bytes(1, _bytes(1, name.encode()) + _bytes(4, picture))))


def tag(name: str) -> str:
    """The name with TensorBoard's group before it."""
    return f"{next((group for group, words in GROUPS if any(word in name for word in words)), 'run')}/{name}"


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked_crc(length)) + data + struct.pack("<I", _masked_crc(data))


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = (crc >> 1) ^ (_CASTAGNOLI if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def _key(field: int, wire_type: int) -> bytes:
    return bytes([field << 3 | wire_type])  # the fields here are all below 16


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _int(field: int, value: int) -> bytes:
    return _key(field, _VARINT) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _key(field, _FIXED64) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    # A number too large for a float is infinite there, as TensorFlow has it; struct would refuse it.
    return _key(field, _FIXED32) + struct.pack("<f", value if abs(value) <= 3.4028234e38 or value != value else float("inf") * value)


def _bytes(field: int, data: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(data)) + data
