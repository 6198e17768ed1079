"""The panels of the chart's dashboards, and their queries as Grafana would send them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.dashboards.rules_files import ROOT

DASHBOARDS = ROOT / "charts/dcgan-train/files/dashboards"
# What other programs measure; the run does not fill these panels.
FROM_OTHERS = {"DCGM_": "only with the DCGM exporter", "kube_": "only with kube-state-metrics"}
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class Query(NamedTuple):
    """One query of one panel, as in the file."""

    board: str
    panel: str
    legend: str
    expr: str

    @property
    def from_others(self) -> str | None:
        """Return why a run alone does not answer it."""
        return next((why for prefix, why in FROM_OTHERS.items() if prefix in self.expr), None)

    def filled(self, variables: Mapping[str, str]) -> str:
        """With Grafana's variables put in; one that is not given is an error."""
        return _VARIABLE.sub(lambda found: variables[found[1]], self.expr)


def dashboard(name: str) -> dict[str, Any]:
    return json.loads((DASHBOARDS / f"{name}.json").read_text())


def names() -> list[str]:
    return sorted(path.stem for path in DASHBOARDS.glob("*.json"))


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that show something: without the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    for name in names():
        for panel in panels(dashboard(name)):
            for target in panel["targets"]:
                yield Query(name, panel["title"], target["legendFormat"], target["expr"])


def find(board: str, panel: str) -> dict[str, Any]:
    """The first panel of that title that is a graph, or else any."""
    found = [each for each in panels(dashboard(board)) if each["title"] == panel]
    return next((each for each in found if each["type"] == "timeseries"), found[0])


def variables(run: str = ".*", interval: str = "1m") -> dict[str, str]:
    """Values that choose everything."""
    return {"namespace": ".*", "run": run, "worker": ".*", "__rate_interval": interval}


def path_of(name: str) -> Path:
    return DASHBOARDS / f"{name}.json"
