"""``manifest.json``: what a committed checkpoint holds. Its presence is the commit, so it is written last.

A checkpoint is the folder ``checkpoints/step-000001200/`` with one ``.npz`` per network and optimizer, ``generator.keras`` and this file. What is
read here was written by a stranger as far as we know: every field is checked to its depth and has a limit, names may not leave the folder.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from job.config.errors import StorageError
from job.data.json_fields import JsonFields, WrongField, shown

NAME = "manifest.json"
FORMAT_VERSION = 1
MAX_BYTES = 1 << 20  # of the manifest; ours have some 5,000
MAX_STEP = 10**12 - 1
MAX_PARTS = 64
MAX_PARTS_BYTES = 1 << 34  # of one part, and of all together; it has to fit into memory
PART_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\.(npz|keras)")
CREATED = re.compile(r"[\x20-\x7e]{1,64}")

SaveReason = Literal["schedule", "preemption", "end"]
REASONS: tuple[SaveReason, ...] = get_args(SaveReason)


class BadManifest(StorageError):
    """A manifest that is not what one of ours looks like."""


@dataclass(frozen=True)
class Part:
    """One file of a checkpoint."""

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``images_seen`` is the position in the order of images; ``model``, ``data_fingerprint`` and ``order`` say what the state belongs to."""

    step: int
    images_seen: int
    created: str
    model: dict[str, Any]
    data_fingerprint: str
    order: dict[str, int]
    world_size: int
    metrics: dict[str, float]
    versions: dict[str, str]
    parts: tuple[Part, ...]
    settings: dict[str, Any] = field(
        default_factory=dict
    )  # the configuration of the run by dotted key: single values, and lists of them
    noise_stream: int = 0  # which set of noise it trained with
    reason: SaveReason = "schedule"  # why it was saved

    @property
    def folder(self) -> str:
        """The checkpoint's folder, relative to the run folder, with a trailing ``/``."""
        return folder_of(self.step)

    @property
    def num_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.num_bytes for part in self.parts)

    def to_json(self) -> bytes:
        """The file's content; ``ValueError`` for a number that is not finite, which no reader would take back."""
        return json.dumps(
            {"format_version": FORMAT_VERSION, **asdict(self)}, indent=2, allow_nan=False
        ).encode()


def folder_of(step: int) -> str:
    """Zero-padded, so that a plain listing is in step order."""
    return f"checkpoints/step-{step:09d}/"


def parse_manifest(data: bytes, uri: str) -> Manifest:
    """The checked content of a ``manifest.json``; ``BadManifest`` names ``uri`` and the field that is wrong."""
    try:
        return _parse(JsonFields.parse(data, MAX_BYTES))
    except WrongField as error:
        raise BadManifest(
            f"{uri}: {error}; it is no checkpoint manifest of ours, or was changed: take another checkpoint"
        ) from None


def _parse(fields: JsonFields) -> Manifest:
    version = fields.integer("format_version")
    if version != FORMAT_VERSION:
        raise WrongField(
            f"format_version is {version}; this program reads version {FORMAT_VERSION}"
        )
    return Manifest(
        step=fields.integer("step", 0, MAX_STEP),
        images_seen=fields.integer("images_seen", 0),
        created=fields.matching("created", CREATED, "a time of at most 64 printable characters"),
        model=fields.plain("model", depth=4),
        data_fingerprint=fields.sha256("data_fingerprint"),
        order=fields.counts("order"),
        world_size=fields.integer("world_size", 1, 10**6),
        metrics=fields.numbers("metrics"),
        versions=fields.texts("versions"),
        parts=_parse_parts(fields),
        settings=_parse_settings(fields) if fields.has("settings") else {},
        noise_stream=fields.integer("noise_stream", 0, 2**31 - 1)
        if fields.has("noise_stream")
        else 0,
        reason=_parse_reason(fields) if fields.has("reason") else "schedule",
    )


def _parse_parts(fields: JsonFields) -> tuple[Part, ...]:
    parts: dict[str, Part] = {}
    for entry in fields.objects("parts"):
        name = entry.matching(
            "name", PART_NAME, "at most 64 letters, digits and _, then .npz or .keras"
        )
        if name in parts or len(parts) == MAX_PARTS:
            raise WrongField(
                f"{entry.path} is {name} again or one too many; expected at most {MAX_PARTS} parts of different names"
            )
        parts[name] = Part(
            name, entry.integer("num_bytes", 0, MAX_PARTS_BYTES), entry.sha256("sha256")
        )
    if not parts or (total := sum(part.num_bytes for part in parts.values())) > MAX_PARTS_BYTES:
        found = f"parts have {total:,} bytes together" if parts else "parts is []"
        raise WrongField(
            f"{found}; expected at least one part, and at most {MAX_PARTS_BYTES:,} bytes"
        )
    return tuple(parts.values())


def _parse_settings(fields: JsonFields) -> dict[str, Any]:
    settings = fields.plain("settings", depth=1)
    for key, value in settings.items():
        if isinstance(value, dict):
            raise WrongField(
                f"settings.{key} is {shown(value)}; expected a single value or a list of them"
            )
    return settings


def _parse_reason(fields: JsonFields) -> SaveReason:
    reason = fields.text("reason")
    if reason not in REASONS:
        raise WrongField(f"reason is {shown(reason)}; expected one of {', '.join(REASONS)}")
    return reason
