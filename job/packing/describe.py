"""``croissant.json`` beside packed images: the files with their hashes, and how they were packed.

Only what the packing knows: licence, biases and people in the images are for their owner to add.
"""

import datetime

from job.config.text import counted, printable
from job.data.croissant import DataFile, Description, croissant, set_name
from job.data.index import Index

_ROWS = "application/octet-stream"


def croissant_of(index: Index, uri: str) -> bytes:
    """Return ``croissant.json`` of the data set at ``uri``."""
    shape = "x".join(map(str, index.image_shape))
    options, source = index.options, index.source
    classes = ", ".join(each.name for each in index.classes or ())
    description = Description(
        set_name(uri),
        f"{counted(index.num_rows, 'image')} of {shape} (height x width x channels) as rows of"
        f" uint8, packed by dcgan-train. Fingerprint: {index.fingerprint}"
        + printable(f". Classes: {classes}" if classes else ""),
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        {
            "dataCollection": printable(f"Read from {source.uri} ({source.kind})."),
            "dataCollectionMissingData": f"{counted(source.num_skipped, 'broken image')} left out.",
            "dataPreprocessingProtocol": f"Decoded, fitted to {shape} ({options.fit}), shuffled"
            f" with seed {options.seed}.",
        },
    )
    files = []
    for shard in index.shards:
        files.append(DataFile(shard.name, shard.num_bytes, shard.sha256, _ROWS))
        if shard.labels is not None:
            labels = shard.labels
            files.append(DataFile(labels.name, 4 * shard.num_rows, labels.sha256, _ROWS))
    return croissant(description, files)
