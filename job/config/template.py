"""A new ``run.yaml``: a preset, the required keys, and the keys that people change most.

The latter are commented out, each with its meaning and the value that the preset gives it, so that
the file trains as the preset does.
"""

import shlex
import textwrap
from collections.abc import Iterator
from typing import Any

from job.config.documents import lookup, preset_names, setting_text
from job.config.keys import all_keys
from job.config.load import load_run, to_dict
from job.config.text import printable

WIDTH = 80
REQUIRED = ("uri", "data.uri")
OFTEN_CHANGED = (
    "data.horizontal_flip",
    "seed",
    "model.image_size",
    "model.channels",
    "model.conditional",
    "training.global_batch_size",
    "training.epochs",
    "training.steps",
    "training.generator_optimizer.learning_rate",
    "training.discriminator_optimizer.learning_rate",
    "checkpoints.every_steps",
    "checkpoints.keep",
    "samples.every_steps",
    "workers.count",
    "workers.gpus",
    "workers.cpus",
    "storage.endpoint_url",
)
_HEADER = """\
# yaml-language-server: $schema={schema}

# A run of dcgan-train. Set uri and data.uri, then check the file:
#   dcgan-train config check --config {name}
# The keys behind a "# " have the values of the preset. To change one, delete
# the "# " at the beginning of its line and of the lines of its sections.
# All keys: dcgan-train config show --preset {preset}

# One of {presets}.
preset: {preset}
"""


def template(preset: str, name: str, schema: str) -> str:
    """Return the text of the file ``name`` for ``preset``; ``schema`` is the path of its schema."""
    values = to_dict(load_run(preset, check=False))
    presets = ", ".join(preset_names())
    header = _HEADER.format(
        schema=schema, name=printable(shlex.quote(name)), preset=preset, presets=presets
    )
    return header + "".join(f"{line}\n" for line in _key_lines(values))


def _key_lines(values: dict[str, Any]) -> Iterator[str]:
    opened: list[str] = []
    for key in (*REQUIRED, *OFTEN_CHANGED):
        *outer, name = key.split(".")
        mark = "" if outer in ([], ["data"]) else "# "  # of sections, and of what is said in them
        if outer[:1] != opened[:1] or not outer:
            yield ""
        for depth in range(len(outer)):
            if outer[: depth + 1] != opened[: depth + 1]:
                yield f"{mark}{'  ' * depth}{outer[depth]}:"
        opened, indent = outer, "  " * len(outer)
        meaning = " ".join((all_keys()[key].description or "").split())
        start = f"{mark}{indent}# "
        yield from textwrap.wrap(meaning, WIDTH, initial_indent=start, subsequent_indent=start)
        setting = setting_text(name, lookup(values, key))
        yield f"{'' if key in REQUIRED else '# '}{indent}{setting}"
