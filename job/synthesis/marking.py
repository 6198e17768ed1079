"""Mark images as synthetic so that programs can tell: IPTC's digital source type, in every format.

In a PNG the mark is XMP, in the place that the PNG and XMP specifications name: an ``iTXt`` chunk
with the keyword ``XML:com.adobe.xmp`` (XMP part 3, section 1.1.5). IPTC Photo Metadata 2023.1,
property Digital Source Type; values: https://cv.iptc.org/newscodes/digitalsourcetype/.
"""

import struct
import zlib

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FIELD = "digital_source_type"  # its name in index.json, .npz and Parquet

_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
_AFTER_HEADER = 8 + 4 + 4 + 13 + 4  # signature, and the first chunk: length, type, IHDR, CRC


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


# Keyword, then: not compressed (two bytes), no language, no translated keyword.
XMP_CHUNK = _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP.encode())


def marked(png: bytes) -> bytes:
    """Return the PNG with the mark as its second chunk; the pixels stay byte for byte."""
    return png[:_AFTER_HEADER] + XMP_CHUNK + png[_AFTER_HEADER:]
