"""The files of one part: PNGs, a tar of PNGs, a Parquet file or a shard of pixels.

    png       000000007.png
    tar       WebDataset's layout: 000000007.png and, with classes, 000000007.cls
    parquet   Hugging Face's layout of an image column: {"bytes": PNG, "path": name}
    shards    raw uint8 rows and, with classes, little-endian int32 labels (``job.data.index``)

The same blocks give the same bytes: no time, no user and no order of threads is in a file.
"""

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from job.synthesis.images import Block
from job.synthesis.marking import DIGITAL_SOURCE_TYPE, FIELD
from job.synthesis.plan import SUFFIXES, IndexRange, Plan, png_name
from job.synthesis.png import encode_pngs

_ROWS_PER_GROUP = 1024  # of a Parquet file; a reader decodes whole groups


class EncodedBlock(NamedTuple):
    """A block as its files need it: PNGs, or pixels for shards."""

    first_index: int
    payloads: list[bytes]
    labels: NDArray[np.int32] | None


def encode(block: Block, plan: Plan) -> EncodedBlock:
    """Return the block encoded for the plan's format."""
    if plan.format == "shards":
        payloads = [block.images.tobytes()]
    else:
        payloads = encode_pngs(block.images, mark=plan.marked)
    return EncodedBlock(block.first_index, payloads, block.labels)


def write_part(
    folder: Path, plan: Plan, part: IndexRange, blocks: Iterable[EncodedBlock]
) -> list[Path]:
    """Write the part's files into the local ``folder`` and return their paths."""
    path = folder / f"{part.name}{SUFFIXES[plan.format]}"
    match plan.format:
        case "png":
            return _write_pngs(folder, blocks)
        case "tar":
            _write_tar(path, blocks)
        case "parquet":
            _write_parquet(path, plan, blocks)
        case _:
            return _write_shard(path, blocks)
    return [path]


def _write_pngs(folder: Path, blocks: Iterable[EncodedBlock]) -> list[Path]:
    paths = []
    for block in blocks:
        for offset, png in enumerate(block.payloads):
            paths.append(folder / png_name(block.first_index + offset))
            paths[-1].write_bytes(png)
    return paths


def _write_tar(path: Path, blocks: Iterable[EncodedBlock]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for block in blocks:
            for offset, png in enumerate(block.payloads):
                name = png_name(block.first_index + offset)
                _add(archive, name, png)
                if block.labels is not None:
                    label = str(block.labels[offset]).encode()
                    _add(archive, name.removesuffix(".png") + ".cls", label)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def features(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the columns of a Parquet file as Hugging Face's ``datasets.Features``."""
    columns: dict[str, dict[str, Any]] = {
        "image": {"_type": "Image"},
        "index": {"dtype": "int64", "_type": "Value"},
    }
    if plan.classes:
        columns["label"] = {"names": list(plan.classes), "_type": "ClassLabel"}
    if plan.marked:
        columns[FIELD] = {"dtype": "string", "_type": "Value"}
    return columns


def _write_parquet(path: Path, plan: Plan, blocks: Iterable[EncodedBlock]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {
        "image": pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
        "index": pyarrow.int64(),
        "label": pyarrow.int64(),
        FIELD: pyarrow.string(),
    }
    columns = features(plan)
    metadata = {"huggingface": json.dumps({"info": {"features": columns}})}
    schema = pyarrow.schema([(name, types[name]) for name in columns], metadata)
    values: dict[str, list[Any]] = {name: [] for name in columns}
    for block in blocks:
        indices = range(block.first_index, block.first_index + len(block.payloads))
        values["index"] += indices
        values["image"] += [
            {"bytes": png, "path": png_name(index)}
            for png, index in zip(block.payloads, indices, strict=True)
        ]
        if block.labels is not None:
            values["label"] += block.labels.tolist()
    if plan.marked:
        values[FIELD] = [DIGITAL_SOURCE_TYPE] * len(values["index"])
    table = pyarrow.table(values, schema)
    parquet.write_table(table, path, row_group_size=_ROWS_PER_GROUP, compression="none")


def _write_shard(path: Path, blocks: Iterable[EncodedBlock]) -> list[Path]:
    labels: list[NDArray[np.int32]] = []
    with open(path, "wb") as file:
        for block in blocks:
            file.writelines(block.payloads)
            if block.labels is not None:
                labels.append(block.labels)
    if not labels:
        return [path]
    labels_path = path.with_suffix(".labels.i32")
    labels_path.write_bytes(np.concatenate(labels).astype("<i4").tobytes())
    return [labels_path, path]
