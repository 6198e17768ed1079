"""Recognize image files by name and by first bytes, and describe other files in messages.

HEIC and JPEG XL need libraries that Pillow does not have. Knows no pixels.
"""

import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath

from PIL import features

# Pillow 11.3 or newer, and not in every build.
_HAS_AVIF = "avif" in features.modules and features.check_module("avif")

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *(("AVIF",) if _HAS_AVIF else ()))
FORMAT_NAMES = f"PNG, JPEG, WebP, BMP, GIF, TIFF{', PNM or AVIF' if _HAS_AVIF else ' or PNM'}"
SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", *((".avif",) if _HAS_AVIF else ()),
)  # fmt: skip
UNREAD_SUFFIXES = frozenset(  # of common image files that are not read
    (".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".avif", ".tga", ".dds",
     ".ico", ".psd", ".xcf", ".svg", ".exr", ".hdr", ".pfm", ".dcm", ".dng", ".cr2", ".cr3", ".nef",
     ".arw", ".orf", ".raf", ".rw2")
).difference(SUFFIXES)  # fmt: skip
TABLE_SUFFIXES = {
    ".csv", ".tsv", ".parquet", ".arrow", ".h5", ".hdf5", ".mat", ".tfrecord", ".pkl", ".lmdb",
    ".mdb",
}  # fmt: skip
SAVE_TABLES = (
    "tables are not read; save the images in them as PNG files, or as one uint8 array with np.save"
)
_CONVERT = "convert them to PNG or JPEG first, for example with ImageMagick"
_NO_EXTENSION, _OTHER_EXTENSION = "no extension", "other extension"
# .png, .7z; not .000123 or .jpg?size=200, of which there may be a million
_EXTENSION = re.compile(r"\.[0-9]?[a-z][a-z0-9_]{0,9}")
_MAX_SHOWN = 10  # extensions in a message
# Thumbnails, snapshots and deleted files of macOS, Windows, Linux and network drives; others of
# their folders begin with a dot.
_SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "@__thumb", "@recycle", "#recycle", "#snapshot", "$recycle.bin",
     "recycler", "system volume information", "lost+found")
)  # fmt: skip
_REMEDIES = (
    ({".u8"}, "this is a packed data set already: train on it as it is"),
    (
        {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"},
        "archives inside are not opened: unpack them, or give one of them as SOURCE",
    ),
    ({".npy", ".npz"}, "arrays inside are not opened: give the file of one as SOURCE"),
    (TABLE_SUFFIXES, SAVE_TABLES),
    (
        {_NO_EXTENSION, _OTHER_EXTENSION},
        "images are known by their extension: rename them, for example to end with .jpg",
    ),
)
_UNREAD = "which is not read; convert it to PNG or JPEG"
_CONTENTS = (
    (rb"....ftyp(hei|hev|mif1|msf1)", f"a HEIC image, {_UNREAD}"),
    (rb"....ftypavi", "an AVIF image that cannot be read here; convert it to PNG or JPEG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", f"a JPEG XL image, {_UNREAD}"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", f"a JPEG 2000 image, {_UNREAD}"),
    (rb"8BPS", "a Photoshop file, which is not read; save it as PNG or JPEG"),
    (
        rb"(II|MM)[*+\0]",
        "a TIFF image that is damaged or of a kind that Pillow cannot read; save it as PNG or JPEG",
    ),
    (
        rb"version https://git-lfs",
        "a Git LFS pointer, not an image; fetch the images with `git lfs pull`",
    ),
    (
        rb"\s*<(?i:!doctype html|html|\?xml|svg)",
        "a web page or SVG, not an image of pixels; download it again",
    ),
)


def is_hidden(name: str) -> bool:
    """Return whether a part of a path below the source is hidden (``.git``) or the system's."""
    return any(
        (part.startswith(".") and part not in (".", "..")) or part.lower() in _SYSTEM_FOLDERS
        for part in name.split("/")
    )


def is_image_name(name: str) -> bool:
    """Return whether a path below the source has an image's extension and is not hidden."""
    # Not with pathlib: packing small images would spend a tenth of its time on their names.
    return name.rstrip("/").lower().endswith(SUFFIXES) and not is_hidden(name)


def label_of(name: str) -> str | None:
    """Return the class of an image, the folder it is in; None if it is in none.

    In Unicode's composed form (NFC): macOS writes decomposed names, and both are one class.
    """
    folder = PurePosixPath(name).parent.name
    return unicodedata.normalize("NFC", folder) if folder not in ("", "..") else None


def extension_of(name: str) -> str:
    """Return the extension under which an ignored file is counted."""
    if is_hidden(name):
        return "hidden"
    extension = PurePosixPath(name).suffix.lower()
    if _EXTENSION.fullmatch(extension):
        return extension
    return _OTHER_EXTENSION if extension else _NO_EXTENSION


def describe_counts(counts: Counter[str] | dict[str, int]) -> str:
    """Return ``.txt x12, .csv x1``: the most frequent first, at most ten."""
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in by_frequency[_MAX_SHOWN:])
    shown = [f"{name} x{count}" for name, count in by_frequency[:_MAX_SHOWN]]
    return ", ".join([*shown, f"others x{rest}"] if rest else shown)


def describe_unread(ignored: Counter[str] | dict[str, int]) -> str:
    """Return the number of images in formats that are not read, and a remedy; empty if none."""
    unread = {suffix: count for suffix, count in ignored.items() if suffix in UNREAD_SUFFIXES}
    if not unread:
        return ""
    images = f"{sum(unread.values())} image{'s'[: sum(unread.values()) != 1]}"
    return f"{images} of formats that are not read ({describe_counts(unread)}): {_CONVERT}"


def describe_no_image(ignored: Counter[str]) -> str:
    """Return what a source without any image holds instead, for a message, and a remedy."""
    if not ignored:
        return f"is empty; expected {FORMAT_NAMES} images"
    files = f"{ignored.total()} file{'s'[: ignored.total() != 1]}"
    if unread := describe_unread(ignored):
        return f"{files}, among them {unread}"
    found = f"{files}, none an image ({describe_counts(ignored)}); expected {FORMAT_NAMES} images"
    if "hidden" in ignored:
        found += "; hidden and system folders are left out"
    remedies = (remedy for extensions, remedy in _REMEDIES if extensions & ignored.keys())
    return ": ".join([found, *remedies][:2])


def describe_unknown(data: bytes) -> str:
    """Return what a file is that Pillow does not recognize, and a remedy, for a message."""
    for pattern, content in _CONTENTS:
        if re.match(pattern, data, re.DOTALL):
            return f"is {content}"
    return f"is not a {FORMAT_NAMES} image (it begins with {data[:12]!r})"
