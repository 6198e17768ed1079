"""The image formats that are read, and the names of those that are not.

Knows names and first bytes, never pixels. HEIC and JPEG XL need libraries that Pillow does not have.
"""

import re

from PIL import features

_HAS_AVIF = "avif" in features.modules and features.check_module("avif")  # Pillow 11.3 or newer, and not in every build

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *(("AVIF",) if _HAS_AVIF else ()))  # as Pillow calls them
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    *((".avif",) if _HAS_AVIF else ()),
)
FORMAT_NAMES = f"PNG, JPEG, WebP, BMP, GIF, TIFF{', PNM or AVIF' if _HAS_AVIF else ' or PNM'}"
# Extensions of images that people have and this program does not read.
UNREAD_SUFFIXES = frozenset(
    (".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".avif", ".tga", ".dds", ".ico", ".psd", ".xcf", ".svg", ".exr",
     ".hdr", ".pfm", ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
).difference(SUFFIXES)  # fmt: skip
CONVERT = "convert them to PNG or JPEG first, for example with ImageMagick"
_KINDS = (
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL), "a HEIC image, which is not read; convert it to PNG or JPEG"),
    (re.compile(rb"....ftypavi", re.DOTALL), "an AVIF image that cannot be read here; convert it to PNG or JPEG"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "a JPEG XL image, which is not read; convert it to PNG or JPEG"),
    (re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000 image, which is not read; convert it to PNG or JPEG"),
    (re.compile(rb"8BPS"), "a Photoshop file, which is not read; save it as PNG or JPEG"),
    (re.compile(rb"(II|MM)[*+\0]"), "a TIFF image that is damaged or of a kind that Pillow cannot read; save it as PNG or JPEG"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer, not an image; fetch the images with `git lfs pull`"),
    (re.compile(rb"\s*<(!doctype html|html|\?xml|svg)", re.IGNORECASE), "a web page or SVG, not an image of pixels; download it again"),
)


def describe_unknown(data: bytes) -> str:
    """Return what a file is that Pillow does not recognize, and what to do, for a message that begins with its name."""
    for pattern, kind in _KINDS:
        if pattern.match(data):
            return f"is {kind}"
    return f"is not a {FORMAT_NAMES} image (it begins with {data[:12]!r})"
