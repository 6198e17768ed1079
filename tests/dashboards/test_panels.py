"""The dashboard files: complete panels without overlaps, valid queries, existing metrics."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from job.streaming.events import RETRIES
from job.telemetry.metrics import WorkerMetrics
from job.telemetry.stream_metrics import StreamMetrics
from tests.dashboards import panels
from tests.dashboards.rules_files import ALERTS, RECORDING, rules
from tests.servers.tools import require_tool
from tests.telemetry.test_metrics import exposed_name, fill

COLUMNS = 24  # of Grafana's grid
OTHERS = {
    "ALERTS",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
BOARDS = {name: panels.dashboard(name) for name in panels.names()}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels.panels(board)]
IDS = [f"{name}-{panel['id']}-{panel['title']}" for name, panel in PANELS]


def registry() -> tuple[set[str], set[str]]:
    """Names of metrics as the documentation has them, and of their series."""
    metrics = WorkerMetrics("garments", rank=0, save_reasons=("timeout",))
    StreamMetrics("garments", 0, metrics.registry, RETRIES)
    fill(metrics)
    families = list(metrics.registry.collect())
    return {exposed_name(family) for family in families}, {
        sample.name for family in families for sample in family.samples
    }


def named(expr: str) -> set[str]:
    """Metrics that an expression names: not labels, recorded series or functions."""
    return set(
        re.findall(
            r"(?<![\w:])(?:dcgan|process|DCGM|kube|ALERTS|up)(?:_\w+)?\b(?!:)(?=\s*[{\[)*/<>=!]|\s|$)",
            expr,
        )
    )


def test_the_two_dashboards_are_there() -> None:
    assert panels.names() == ["fleet", "run"]
    assert len({board["uid"] for board in BOARDS.values()}) == 2


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_a_panel_says_what_it_is_for(board: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 15
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert panel["datasource"] == DATASOURCE
    assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_unique_ids_and_places(name: str) -> None:
    everything = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: dict[tuple[int, int], str] = {}
    for panel in everything:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        for cell in (
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, f"{panel['title']} lies on {taken.get(cell)}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=IDS)
def test_what_shows_a_state_asks_for_now(board: str, panel: dict[str, Any]) -> None:
    """A time range would show a past phase or the last speed of an ended run as current."""
    shows_a_state = panel["type"] in ("gauge", "table", "stat")
    assert all(target.get("instant", False) == shows_a_state for target in panel["targets"])
    assert all(target.get("range", True) != shows_a_state for target in panel["targets"])
    assert panel["options"].get("graphMode", "none") == "none"  # a curve needs the past


def test_no_alert_differs_from_no_rules() -> None:
    """A green 0 must not appear if no rules are loaded."""
    counts = [
        (board, panel)
        for board, panel in PANELS
        if panel["type"] == "stat" and "ALERTS" in panel["targets"][0]["expr"]
    ]
    assert sorted(board for board, _ in counts) == ["fleet", "run"]
    for _, panel in counts:
        assert panel["targets"][0]["expr"].endswith(" or 0 * max(dcgan:rules:loaded)")
        assert panel["fieldConfig"]["defaults"]["noValue"] == "no rules"


@pytest.mark.parametrize("name", BOARDS)
def test_no_two_panels_share_title_and_kind(name: str) -> None:
    kinds = [(panel["title"], panel["type"]) for panel in panels.panels(BOARDS[name])]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_works_with_any_prometheus(name: str) -> None:
    variables = {variable["name"]: variable for variable in BOARDS[name]["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["datasource"]["label"] == "Data source"  # as Grafana's linter expects it
    assert BOARDS[name]["editable"] is False  # Grafana could not save a change of a ConfigMap
    assert (
        set(variables) == {"datasource", "namespace", "run", "worker"}
        if name == "run"
        else {"datasource", "namespace"}
    )
    assert all(
        variable["datasource"] == DATASOURCE
        for variable in variables.values()
        if variable["type"] == "query"
    )
    # Series scraped without Kubernetes have no namespace: the pattern must match an empty label.
    assert variables["namespace"]["allValue"] == ".*"
    built_in = {"__rate_interval"}
    used = {
        word
        for query in panels.queries()
        if query.board == name
        for word in re.findall(r"\$\{?(\w+)\}?", query.expr)
    }
    assert used <= variables.keys() | built_in


def test_the_first_row_answers_the_three_questions() -> None:
    first, *rest = BOARDS["run"]["panels"]
    assert first["title"] == "Is it healthy, why is it slow, when does it end?"
    second_row = next(panel["gridPos"]["y"] for panel in rest if panel["type"] == "row")
    shown = {panel["title"] for panel in rest if panel["gridPos"]["y"] < second_row}
    assert {
        "Alerts",
        "Phase",
        "Time left",
        "Where the time goes",
        "Work a crash would cost",
    } <= shown


def test_only_metrics_that_exist_are_named() -> None:
    documented, series = registry()
    expressions = [query.expr for query in panels.queries()]
    expressions += [rule["expr"] for path in (RECORDING, ALERTS) for rule in rules(path)]
    named_by = {expr: named(expr) for expr in expressions}
    others = tuple(panels.FROM_OTHERS)
    unknown = {
        expr: {name for name in names - series - OTHERS if not name.startswith(others)}
        for expr, names in named_by.items()
    }
    assert {expr: names for expr, names in unknown.items() if names} == {}
    shown = set().union(*named_by.values())
    assert {
        name
        for name in documented
        if name.startswith("dcgan_") and not any(each.startswith(name) for each in shown)
    } == set()


def test_a_wrong_name_would_be_seen() -> None:
    assert named('max by (run) (dcgan_stpe{run="$run"}) / run:dcgan_steps:rate15m') == {
        "dcgan_stpe"
    }
    assert named("rate(dcgan_step_seconds_sum[5m]) * on (x) process_open_fds") == {
        "dcgan_step_seconds_sum",
        "process_open_fds",
    }


@pytest.mark.prometheus
def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    asked = [query.filled(panels.variables()) for query in panels.queries()]
    asked += [
        each["expr"].replace("$namespace", ".*").replace("$run", "x")
        for board in BOARDS.values()
        for each in board["annotations"]["list"]
    ]
    recorded = [
        {"record": f"panel:query:{number}", "expr": expr} for number, expr in enumerate(asked)
    ]
    (tmp_path / "queries.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]})
    )
    command = [str(require_tool("promtool")), "check", "rules", str(tmp_path / "queries.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout


def test_the_pictures_of_the_documentation_are_of_panels_that_exist() -> None:
    pytest.importorskip("matplotlib")
    from tests.dashboards.draw import PICTURES

    shown = [(board, title) for board, titles in PICTURES.values() for title in titles]
    titles = {(name, panel["title"]) for name, panel in PANELS}
    assert [each for each in shown if each not in titles] == []
