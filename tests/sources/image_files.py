"""Image files built byte by byte, for what Pillow does not write."""

import struct
import zlib

from job.sources.image import ImagePolicy, Pixels, decode_image

ANY = ImagePolicy(size=None, channels=None)


def decode_any(data: bytes) -> Pixels:
    """Decode an image at its own size."""
    return decode_image(data, ANY)


def png(
    bits: int,
    colour_type: int,
    pixels: list[tuple[int, ...]],
    transparent: tuple[int, ...] | None = None,
) -> bytes:
    """A PNG of one row; its samples and its transparent colour are written as they are given."""
    row = "".join(f"{value:0{bits}b}" for pixel in pixels for value in pixel)
    packed = int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", len(pixels), 1, bits, colour_type, 0, 0, 0))]
    if transparent is not None:
        chunks.append((b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)))
    chunks += [(b"IDAT", zlib.compress(b"\0" + packed)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff(tags: dict[int, tuple[int, int, int]], values: bytes) -> bytes:
    """Return a little-endian TIFF of tag to (type, number of values, value).

    A value of -1 is the offset of ``values``.
    """
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, *rest, start if value < 0 else value)
        for tag, (*rest, value) in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values


def grey_tiff(
    width: int, bits: int, white_is_zero: bool, values: bytes, **changed: tuple[int, int, int]
) -> bytes:
    tags = {
        256: (3, 1, width), 257: (3, 1, 1), 258: (3, 1, bits), 259: (3, 1, 1),
        262: (3, 1, 0 if white_is_zero else 1), 273: (4, 1, -1), 277: (3, 1, 1), 278: (3, 1, 1),
        279: (4, 1, len(values)),
    }  # fmt: skip
    return tiff(tags | {int(tag[1:]): entry for tag, entry in changed.items()}, values)


def bmp(pixels: list[tuple[int, int, int, int]]) -> bytes:
    """A BMP of one row with the header that knows alpha (BITMAPV4HEADER)."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (
        struct.pack("<IiiHHIIiiII", 108, len(pixels), 1, 1, 32, 3, 4 * len(pixels), 0, 0, 0, 0)
        + masks
        + bytes(52)
    )
    values = b"".join(bytes([blue, green, red, alpha]) for red, green, blue, alpha in pixels)
    return b"BM" + struct.pack("<IHHI", 14 + 108 + len(values), 0, 0, 14 + 108) + header + values
