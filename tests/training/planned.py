"""Runs that are planned and never trained: 512 packed images, a ``SMALL`` run on them."""

import dataclasses
from pathlib import Path

from job.checkpoints.checkpoints import Checkpoints
from job.checkpoints.manifest import Manifest
from job.config.load import load_run
from job.config.spec import RunSpec
from job.data.index import read_index
from job.storage.uri import open_store
from job.training.identity import model_identity, order_identity
from tests.launch.program import SMALL
from tests.streaming.sets import pack_numbered


def pack_512(folder: Path) -> Path:
    """Pack 512 images of 28x28x1 in 7 shards: 32 steps of 16 an epoch."""
    pack_numbered(folder / "packed", 512, 83, height=28, width=28)
    return folder / "packed"


def spec_of(data: Path, folder: Path, *settings: str) -> RunSpec:
    values = {"uri": folder, "data.uri": data, **SMALL}
    return load_run(overrides=[*(f"{key}={value}" for key, value in values.items()), *settings])


def commit_step_50(
    spec: RunSpec,
    settings: dict[str, object] | None = None,
    metrics: dict[str, float] | None = None,
) -> None:
    """Write one checkpoint into the run folder of ``spec``, with ``settings`` and ``metrics``."""
    manifest = Manifest(
        50,
        800,
        "2026-01-01T00:00:00+00:00",
        model_identity(spec),
        read_index(open_store(spec.data.uri)).fingerprint,
        order_identity(spec),
        2,
        metrics or {},
        {},
        (),
    )
    Checkpoints(open_store(spec.uri)).save(
        dataclasses.replace(manifest, settings=settings or {}), {"generator.npz": b"weights"}
    )
