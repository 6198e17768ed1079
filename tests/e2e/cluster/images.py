"""Container images of a few files, made without a builder, a registry or a base image.

Layout: that of ``docker save``, which ``ctr image import`` reads: manifest.json, a configuration
and one layer, in one tar.

write_image(archive, "localhost/pause:1", {"/pause": File(path)}, ["/pause"])
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    """A program of this machine, executable in the image."""

    source: Path


class Link(NamedTuple):
    """A symbolic link."""

    target: str


def write_image(
    archive: Path,
    name: str,
    files: Mapping[str, File | Link],
    entrypoint: list[str],
    *,
    user: str = "65532:65532",
) -> None:
    """Write image ``name`` with ``files`` by absolute path. The same files give the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "tmp", tarfile.DIRTYPE, 0o1777)
        for path, entry in files.items():
            if isinstance(entry, Link):
                _add(tar, path.lstrip("/"), tarfile.SYMTYPE, 0o777, target=entry.target)
            else:
                _add(tar, path.lstrip("/"), tarfile.REGTYPE, 0o755, entry.source.read_bytes())
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": user, "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    config_bytes = json.dumps(config).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, config_name, tarfile.REGTYPE, 0o644, config_bytes)
        _add(tar, f"{digest}/layer.tar", tarfile.REGTYPE, 0o644, layer.getvalue())
        _add(tar, "manifest.json", tarfile.REGTYPE, 0o644, json.dumps(manifest).encode())


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", target: str = ""
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(data), target
    tar.addfile(info, io.BytesIO(data))
