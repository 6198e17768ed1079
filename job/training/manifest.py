"""``manifest.json``: what a committed checkpoint holds. Its presence is the commit, so it is written last.

A checkpoint is the folder ``checkpoints/step-000001200/`` with one ``.npz`` per network and optimizer, ``generator.keras`` and this file. What is
read here was written by a stranger as far as we know: every field is checked, names may not leave the folder, nothing is pickled.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from job.config.errors import StorageError

NAME = "manifest.json"
FORMAT_VERSION = 1
PART_NAME = re.compile(r"[A-Za-z0-9_]+\.(npz|keras)")
SHA256 = re.compile(r"[0-9a-f]{64}")


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

    @property
    def folder(self) -> str:
        """The checkpoint's folder, relative to the run folder, with a trailing ``/``."""
        return folder_of(self.step)

    @property
    def num_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.num_bytes for part in self.parts)

    def to_json(self) -> bytes:
        """The file's content."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2).encode()


def folder_of(step: int) -> str:
    """Zero-padded, so that a plain listing is in step order."""
    return f"checkpoints/step-{step:09d}/"


def parse_manifest(data: bytes, uri: str) -> Manifest:
    """The checked content of a ``manifest.json``; ``BadManifest`` names ``uri`` and the field that is wrong."""
    try:
        fields = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadManifest(f"{uri}: not valid JSON ({error}); expected a checkpoint manifest") from error
    if not isinstance(fields, dict) or fields.pop("format_version", None) != FORMAT_VERSION:
        raise BadManifest(f"{uri}: not a checkpoint manifest of format version {FORMAT_VERSION}")
    kinds: dict[str, type] = {
        "step": int, "images_seen": int, "created": str, "model": dict, "data_fingerprint": str, "order": dict, "world_size": int,
        "metrics": dict, "versions": dict, "parts": list,
    }  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(fields.get(name), kind) or isinstance(fields.get(name), bool):
            raise BadManifest(f"{uri}: {name} is {fields.get(name)!r}; expected {kind.__name__}")
    parts = tuple(_parse_part(entry, uri) for entry in fields["parts"])
    known = {name: fields[name] for name in kinds if name != "parts"}
    if known["step"] < 0 or len({part.name for part in parts}) != len(parts) or not parts:
        raise BadManifest(f"{uri}: step {known['step']} with {len(parts)} parts; expected a step from 0 on and parts of different names")
    return Manifest(**known, parts=parts)


def _parse_part(entry: Any, uri: str) -> Part:
    good = (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and PART_NAME.fullmatch(entry["name"])
        and type(entry.get("num_bytes")) is int
        and entry["num_bytes"] >= 0
        and isinstance(entry.get("sha256"), str)
        and SHA256.fullmatch(entry["sha256"])
    )
    if not good:
        raise BadManifest(f"{uri}: part {entry!r}; expected name (letters, digits, _ and .npz or .keras), num_bytes and sha256")
    return Part(entry["name"], entry["num_bytes"], entry["sha256"])
