"""``manifest.json``: the content of a committed checkpoint. Written last: its presence commits.

A checkpoint is the folder ``checkpoints/step-000001200/`` with one ``.npz`` per network and
optimizer, ``generator.keras`` and this file. A manifest may come from anyone: every field is
validated to its depth and has a limit, and the name of a part cannot leave the folder.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from job.config.errors import StorageError
from job.config.validation import shown
from job.data.index import ImageClass
from job.data.json_fields import (
    Counts,
    Items,
    Matching,
    Numbers,
    Sha256,
    Texts,
    Whole,
    WrongField,
    parse_object,
    plain,
    validate_fields,
)

NAME = "manifest.json"
FORMAT_VERSION = 1
MAX_BYTES = 1 << 20  # of the manifest; a usual one has 5,000
MAX_STEP = 10**12 - 1
MAX_PARTS = 64
MAX_PARTS_BYTES = 1 << 34  # of one part, and of all together; it has to fit into memory
PART_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\.(npz|keras)")
CREATED = r"[\x20-\x7e]{1,64}"

SaveReason = Literal["schedule", "preemption", "end"]


class BadManifest(StorageError):
    """A manifest that is not valid."""


@dataclass(frozen=True)
class Part:
    """One file of a checkpoint."""

    name: Annotated[
        str, Matching(PART_NAME.pattern, "at most 64 letters, digits and _, then .npz or .keras")
    ]
    num_bytes: Annotated[int, Whole(0, MAX_PARTS_BYTES)]
    sha256: Sha256


@dataclass(frozen=True)
class Manifest:
    """The content of a ``manifest.json``.

    ``images_seen`` is the position in the order of images. ``model``, ``data_fingerprint`` and
    ``order`` identify the model and the data set that the state belongs to.
    """

    step: Annotated[int, Whole(0, MAX_STEP)]
    images_seen: Annotated[int, Whole(0)]
    created: Annotated[str, Matching(CREATED, "a time of at most 64 printable characters")]
    model: Annotated[dict[str, Any], plain(depth=4)]
    data_fingerprint: Sha256
    order: Counts
    world_size: Annotated[int, Whole(1, 10**6)]
    metrics: Numbers
    versions: Texts
    parts: Items[Part]
    # The configuration of the run by dotted key: single values, and lists of them.
    settings: Annotated[dict[str, Any], plain(depth=1)] = field(default_factory=dict)
    noise_stream: Annotated[int, Whole(0, 2**31 - 1)] = 0  # which set of noise it trained with
    reason: SaveReason = "schedule"  # why it was saved
    classes: Items[ImageClass] = ()  # that the networks are conditioned on, by label
    # The features, real images and numbers of images of the scores in `metrics`.
    scored_by: Texts = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Return the checkpoint's folder, relative to the run folder, with a trailing ``/``."""
        return folder_of(self.step)

    @property
    def num_bytes(self) -> int:
        """Return the bytes of all parts."""
        return sum(part.num_bytes for part in self.parts)

    def to_json(self) -> bytes:
        """Return the file's content. Raise ``ValueError`` for a number that is not finite."""
        return json.dumps(
            {"format_version": FORMAT_VERSION, **asdict(self)}, indent=2, allow_nan=False
        ).encode()


def folder_of(step: int) -> str:
    """Return the folder of a step, zero-padded, so that a listing is in the order of steps."""
    return f"checkpoints/step-{step:09d}/"


def parse_manifest(data: bytes, uri: str) -> Manifest:
    """Return the content of a ``manifest.json``; ``BadManifest`` names the invalid field."""
    try:
        fields = parse_object(data, MAX_BYTES, FORMAT_VERSION)
        manifest = validate_fields(Manifest, fields)
        _check_parts(manifest.parts)
        _check_settings(manifest.settings)
    except WrongField as error:
        raise BadManifest(
            f"{uri}: {error}; it is not a valid dcgan-train manifest: use another checkpoint"
        ) from None
    return manifest


def _check_parts(parts: tuple[Part, ...]) -> None:
    """Raise ``WrongField`` for no parts, too many, equal names or too many bytes."""
    names: set[str] = set()
    for number, part in enumerate(parts):
        if part.name in names or number == MAX_PARTS:
            raise WrongField(
                f"parts[{number}] is {part.name} again or one too many;"
                f" expected at most {MAX_PARTS} parts of different names"
            )
        names.add(part.name)
    total = sum(part.num_bytes for part in parts)
    if not parts or total > MAX_PARTS_BYTES:
        found = f"parts have {total:,} bytes together" if parts else "parts is []"
        raise WrongField(
            f"{found}; expected at least one part, and at most {MAX_PARTS_BYTES:,} bytes"
        )


def _check_settings(settings: dict[str, Any]) -> None:
    for key, value in settings.items():
        if isinstance(value, dict):
            raise WrongField(
                f"settings.{key} is {shown(value)}; expected a single value or a list of them"
            )
