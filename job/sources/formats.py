"""The image formats that are read, and the names of those that are not.

Knows names and first bytes, never pixels. HEIC and JPEG XL need libraries that Pillow does not have.
"""

import re
from collections.abc import Collection

from PIL import features

_HAS_AVIF = "avif" in features.modules and features.check_module(
    "avif"
)  # Pillow 11.3 or newer, and not in every build

FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
    "PPM",
    *(("AVIF",) if _HAS_AVIF else ()),
)  # as Pillow calls them
SUFFIXES = (
    *(
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ),
    *((".avif",) if _HAS_AVIF else ()),
)
FORMAT_NAMES = f"PNG, JPEG, WebP, BMP, GIF, TIFF{', PNM or AVIF' if _HAS_AVIF else ' or PNM'}"
# Extensions of images that people have and this program does not read.
UNREAD_SUFFIXES = frozenset(
    (".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".avif", ".tga", ".dds", ".ico", ".psd", ".xcf", ".svg", ".exr",
     ".hdr", ".pfm", ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2")
).difference(SUFFIXES)  # fmt: skip
NO_EXTENSION, OTHER_EXTENSION = (
    "no extension",
    "other extension",
)  # how files without one, or with one like .000123, are counted
CONVERT = "convert them to PNG or JPEG first, for example with ImageMagick"
TABLE_SUFFIXES = (
    ".csv",
    ".tsv",
    ".parquet",
    ".arrow",
    ".h5",
    ".hdf5",
    ".mat",
    ".tfrecord",
    ".pkl",
    ".lmdb",
    ".mdb",
)
SAVE_TABLES = (
    "tables are not read; save the images in them as PNG files, or as one uint8 array with np.save"
)
_REMEDIES = (
    ((".u8",), "this is a packed data set already: train on it as it is"),
    (
        (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"),
        "archives inside are not opened: unpack them, or give one of them as SOURCE",
    ),
    ((".npy", ".npz"), "arrays inside are not opened: give the file of one as SOURCE"),
    (TABLE_SUFFIXES, SAVE_TABLES),
    (
        (NO_EXTENSION, OTHER_EXTENSION),
        "images are known by their extension: rename them, for example to end with .jpg",
    ),
)
_KINDS = (
    (
        re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL),
        "a HEIC image, which is not read; convert it to PNG or JPEG",
    ),
    (
        re.compile(rb"....ftypavi", re.DOTALL),
        "an AVIF image that cannot be read here; convert it to PNG or JPEG",
    ),
    (
        re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
        "a JPEG XL image, which is not read; convert it to PNG or JPEG",
    ),
    (
        re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
        "a JPEG 2000 image, which is not read; convert it to PNG or JPEG",
    ),
    (re.compile(rb"8BPS"), "a Photoshop file, which is not read; save it as PNG or JPEG"),
    (
        re.compile(rb"(II|MM)[*+\0]"),
        "a TIFF image that is damaged or of a kind that Pillow cannot read; save it as PNG or JPEG",
    ),
    (
        re.compile(rb"version https://git-lfs"),
        "a Git LFS pointer, not an image; fetch the images with `git lfs pull`",
    ),
    (
        re.compile(rb"\s*<(!doctype html|html|\?xml|svg)", re.IGNORECASE),
        "a web page or SVG, not an image of pixels; download it again",
    ),
)


def remedy_for(kinds: Collection[str]) -> str | None:
    """Return what to do with files that hold images in another form, by the extensions of all files; None if none is known to."""
    return next(
        (remedy for extensions, remedy in _REMEDIES if any(kind in extensions for kind in kinds)),
        None,
    )


def describe_unknown(data: bytes) -> str:
    """Return what a file is that Pillow does not recognize, and what to do, for a message that begins with its name."""
    for pattern, kind in _KINDS:
        if pattern.match(data):
            return f"is {kind}"
    return f"is not a {FORMAT_NAMES} image (it begins with {data[:12]!r})"
