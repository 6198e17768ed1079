"""TensorBoard's event files, as bytes: scalars, pictures and restarts.

Knows no TensorFlow: the messages and the checksum are those of tensorboardX.
"""

import struct
from collections.abc import Mapping

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

GROUPS = (
    (
        "health",
        (
            "loss",
            "probability",
            "accuracy",
            "gradient",
            "non_finite",
            "diversity",
            "rollbacks",
            "quality",
        ),
    ),
    ("checkpoints", ("dcgan_checkpoint",)),
    ("data", ("dcgan_fetch", "dcgan_cache")),
    ("speed", ("per_second", "step_seconds", "_wait_seconds", "compute_seconds", "straggler")),
)


def version_event(time: float) -> bytes:
    """Return the first record of every event file."""
    return _record(Event(wall_time=time, file_version="brain.Event:2"))


def restart_event(time: float, step: int) -> bytes:
    """Return the record of a resume at ``step``: TensorBoard then drops later steps."""
    return _record(
        Event(wall_time=time, step=step + 1, session_log=SessionLog(status=SessionLog.START))
    )


def scalars_event(time: float, step: int, values: Mapping[str, float]) -> bytes:
    """Return one point of each series, by group and name: ``health/dcgan_generator_loss``."""
    points = [Summary.Value(tag=tag(name), simple_value=value) for name, value in values.items()]
    return _record(Event(wall_time=time, step=step, summary=Summary(value=points)))


def picture_event(time: float, step: int, name: str, png: bytes, height: int, width: int) -> bytes:
    """Return a PNG at a step."""
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return _record(
        Event(
            wall_time=time, step=step, summary=Summary(value=[Summary.Value(tag=name, image=image)])
        )
    )


def tag(name: str) -> str:
    """Return the name with TensorBoard's group before it."""
    groups = (group for group, parts in GROUPS if any(part in name for part in parts))
    return f"{next(groups, 'run')}/{name}"


def _record(event: Event) -> bytes:
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return (
        length
        + struct.pack("<I", masked_crc32c(length))
        + data
        + struct.pack("<I", masked_crc32c(data))
    )
