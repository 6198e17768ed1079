"""What can be found wrong before any process starts: stores, images, the run folder. Knows no Ray and no TensorFlow."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from job.config.load import to_yaml
from job.config.spec import RunSpec
from job.data.index import Index, read_index
from job.storage.store import ObjectStore, open_store
from job.training.checkpoint import Checkpoints
from job.training.identity import check_identity, check_images
from job.training.manifest import Manifest
from job.training.schedule import Schedule, plan
from job.training.versions import versions


@dataclass(frozen=True)
class Preflight:
    """A run that can start: ``resumed`` is the checkpoint it will go on from, None for a fresh one."""

    spec: RunSpec
    index: Index
    schedule: Schedule
    resumed: Manifest | None


def check(spec: RunSpec) -> Preflight:
    """Read the index and the newest manifest of the run folder; ``DcganError`` of the kind that is wrong. Writes nothing."""
    spec = with_absolute_paths(spec)
    index = read_index(open_store(spec.data.uri, spec.storage))
    check_images(spec, index)
    committed = Checkpoints(open_store(spec.uri, spec.storage)).committed()
    if committed:
        check_identity(spec, index, committed[0], spec.uri)
    return Preflight(spec, index, plan(spec, index.num_rows), committed[0] if committed else None)


def record(preflight: Preflight) -> None:
    """Write ``run.yaml`` into the run folder: the resolved configuration, which ``--config`` reads back, under a head of what it ran on."""
    head = [f"# {name}: {version}" for name, version in versions().items()]
    head += [f"# data fingerprint: {preflight.index.fingerprint}", f"# images: {preflight.index.num_rows}"]
    store: ObjectStore = open_store(preflight.spec.uri, preflight.spec.storage)
    store.write("run.yaml", ("\n".join(head) + "\n" + to_yaml(preflight.spec)).encode())


def with_absolute_paths(spec: RunSpec) -> RunSpec:
    """``spec`` with local paths made absolute: workers run in other folders than the command."""
    data = dataclasses.replace(spec.data, uri=_absolute(spec.data.uri), cache_dir=_absolute(spec.data.cache_dir))
    return dataclasses.replace(spec, uri=_absolute(spec.uri), data=data)


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())
