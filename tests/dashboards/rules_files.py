"""The chart's rule files, and copies with shorter times for tests."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/dcgan-train/files/rules"
RECORDING, ALERTS = RULES / "recording.yaml", RULES / "alerts.yaml"
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SPAN = re.compile(r"(\[|offset )(\d+)([smh])(?=\W|$)")


def rules(path: Path) -> list[dict[str, Any]]:
    """Every rule of a file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def shortened(path: Path, folder: Path, factor: float, min_seconds: int) -> Path:
    """Copy a rule file into ``folder`` with all times multiplied by ``factor``.

    A range or an offset is at least ``min_seconds``.
    """
    content = yaml.safe_load(path.read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _SPAN.sub(
                lambda found: (
                    f"{found[1]}{max(min_seconds, round(_seconds(*found.groups()[1:]) * factor))}s"
                ),
                rule["expr"],
            )
            if "for" in rule:
                rule["for"] = f"{round(_seconds(rule['for'][:-1], rule['for'][-1]) * factor)}s"
    copy = folder / f"short-{path.name}"
    copy.write_text(yaml.safe_dump(content))
    return copy


def _seconds(number: str, unit: str) -> int:
    return int(number) * _SECONDS[unit]
