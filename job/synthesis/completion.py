"""Complete a set of generated images whose parts are all there: its index and its descriptions.

Loads no TensorFlow, so that the driver of a cluster can do it.
"""

import datetime
from collections.abc import Sequence
from dataclasses import asdict, astuple

from job.config.versions import versions
from job.data.croissant import KEY as CROISSANT_KEY
from job.data.croissant import set_name
from job.data.index import (
    ImageClass,
    Index,
    LabelFile,
    PackedSource,
    PackSettings,
    Shard,
    write_index,
)
from job.storage.store import ObjectStore
from job.synthesis.card import KEY as CARD_KEY
from job.synthesis.card import Written, croissant_of, data_card
from job.synthesis.marking import DIGITAL_SOURCE_TYPE
from job.synthesis.parts import (
    PartRecord,
    check_parts,
    check_plan,
    committed,
    find_plan,
    finish,
)
from job.synthesis.plan import Plan


def complete(store: ObjectStore, plan: Plan) -> None:
    """Write what describes the images, then ``generation.json`` with all parts.

    ``StorageError`` unless every index is in one part.
    """
    check_plan(store, find_plan(store) or plan, asdict(plan))
    records = committed(store)
    check_parts(store, plan, records)
    if plan.format == "shards":
        write_index(store, _index(plan, records))
    name = set_name(store.uri)
    is_listed = plan.format != "png"  # `generation.json` has them; a pattern is enough here
    files = [Written(*astuple(file)) for each in records for file in each.files if is_listed]
    store.write(CARD_KEY, data_card(plan, name))
    store.write(CROISSANT_KEY, croissant_of(plan, name, _today(), files))
    finish(store, plan, records)


def _today() -> str:
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"


def _index(plan: Plan, records: Sequence[PartRecord]) -> Index:
    """Return the index of a packed data set: synthetic images to add to few real ones."""
    height, width, channels = shape = plan.image_shape[0], plan.image_shape[1], plan.image_shape[2]
    counts = plan.class_plan.num_images(plan.start, plan.stop) if plan.class_plan else []
    classes = tuple(map(ImageClass, plan.classes, counts)) if plan.classes else None
    source = PackedSource(
        uri=f"{plan.checkpoint}#seed={plan.seed}",
        kind="generated",
        num_bytes=None,
        num_read=plan.num_images,
        num_skipped=0,
        skipped=(),
        ignored={},
        digital_source_type=DIGITAL_SOURCE_TYPE if plan.marked else None,
    )
    settings = PackSettings(f"{height}x{width}", channels, "exact")
    shards = tuple(_shard(record) for record in records)
    packed_by = versions()["dcgan-train"]
    return Index(shape, plan.num_images, shards, classes, source, settings, packed_by)


def _shard(record: PartRecord) -> Shard:
    *labels, pixels = record.files
    label_file = LabelFile(labels[0].name, labels[0].sha256) if labels else None
    num_rows = record.stop - record.start
    return Shard(pixels.name, num_rows, pixels.num_bytes, pixels.sha256, label_file)
