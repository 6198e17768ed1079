"""A Dockerfile as a list of instructions, for tests without a build.

Parses the part of the format (https://docs.docker.com/reference/dockerfile/) that the project uses.
"""

import re
from pathlib import Path
from typing import NamedTuple

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


class Instruction(NamedTuple):
    """One instruction, its lines joined. ``stage`` is its stage; empty before the first."""

    stage: str
    name: str
    arguments: str


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of ``text`` in order, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = ""
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, arguments = line.strip().partition(" ")
        if name == "FROM":
            stage = arguments.rpartition(" AS ")[2]
        found.append(Instruction(stage, name, arguments.strip()))
    return found


def lineage(found: list[Instruction], stage: str) -> list[str]:
    """``stage``, the stage it is made from, and so on; last the image outside of the file."""
    parents = {item.stage: item.arguments.split(" AS ")[0] for item in found if item.name == "FROM"}
    names = [stage]
    while names[-1] in parents:
        names.append(parents[names[-1]])
    return names
