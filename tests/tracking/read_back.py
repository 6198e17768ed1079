"""Print what Trackio's local store, or W&B's files of offline runs, have of one run, as JSON.

    python -m tests.tracking.read_back trackio PROJECT
    python -m tests.tracking.read_back wandb FILE...

``{"names": [...], "config": {...}, "rows": [{"step": 20, ...}, ...], "last": {...}}`` with the
libraries of ``tests.tracking.packages`` on PYTHONPATH; ``last`` has the last value of each text.
W&B's also have ``machine``, what it recorded about machine, user and command line.
"""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 1 << 15  # of LevelDB's log format
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_trackio(project: str) -> dict[str, object]:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = Api().runs(project)
    rows = SQLiteStorage.get_logs(project, run.name, run_id=run.id)
    last = {name: row[name] for row in rows for name in row if isinstance(row[name], str)}
    return {"names": [run.name], "config": run.config, "rows": rows, "last": last}


def read_wandb(files: list[str]) -> dict[str, object]:
    from wandb.proto.wandb_internal_pb2 import Record

    names, config, rows, last, machine = [], {}, [], {}, []
    for file in sorted(files):
        for data in records(Path(file).read_bytes()):
            record = Record.FromString(data)
            if record.WhichOneof("record_type") == "run":
                names.append(record.run.run_id)
                machine += [record.run.host] if record.run.host else []
                config |= {
                    item.key: json.loads(item.value_json) for item in record.run.config.update
                }
            elif record.WhichOneof("record_type") == "history":
                row = {
                    item.key or item.nested_key[0]: json.loads(item.value_json)
                    for item in record.history.item
                }
                rows.append(row | {"step": record.history.step.num})
            elif record.WhichOneof("record_type") == "summary":
                values = {item.key: json.loads(item.value_json) for item in record.summary.update}
                last |= {name: value for name, value in values.items() if isinstance(value, str)}
            elif record.WhichOneof("record_type") == "environment":
                machine.append(str(record.environment))
    return {"names": names, "config": config, "rows": rows, "last": last, "machine": machine}


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file: chunks of a CRC, a length and a kind, in blocks."""
    start, parts = 7, b""  # after the file's own header
    while start + 7 <= len(data):
        left = BLOCK_BYTES - start % BLOCK_BYTES
        if left < 7:
            start += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, start)
        chunk = data[start + 7 : start + 7 + length]
        start += 7 + length
        parts = chunk if kind in (FULL, FIRST) else parts + chunk
        if kind in (FULL, LAST):
            yield parts


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    found = read_trackio(arguments[0]) if kind == "trackio" else read_wandb(arguments)
    json.dump(found, sys.stdout)
