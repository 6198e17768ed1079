"""The alerts pass promtool, are tested to the minute both ways, and have a page in the runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards import panels
from tests.dashboards.rules_files import ALERTS, RECORDING, ROOT, rules, shortened
from tests.servers.tools import require_tool
from tests.test_docs import heading_anchor

pytestmark = pytest.mark.prometheus

TESTS = sorted(Path(__file__).parent.glob("rules/*.test.yaml"))
ALERT_RULES = {rule["alert"]: rule for rule in rules(ALERTS)}
SPAN = re.compile(r"(?:\[|offset )(\d+\w)\b")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (require_tool("promtool"), *arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def expectations(path: Path) -> list[dict[str, Any]]:
    return [
        check
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test["alert_rule_test"]
    ]


def test_prometheus_takes_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", RECORDING, ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_each_fires_in_its_minute_and_not_before(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    checks = [check for path in TESTS for check in expectations(path)]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    silent = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fires == silent == ALERT_RULES.keys()


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_tests_see_a_minute(path: Path, tmp_path: Path) -> None:
    """With each alert a minute late, each must be missed."""
    late = yaml.safe_load(ALERTS.read_text())
    for rule in late["groups"][0]["rules"]:
        rule["for"] = f"{int(rule.get('for', '0m')[:-1]) + 1}m"
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(late))
    moved = yaml.safe_load(path.read_text()) | {
        "rule_files": [str(RECORDING), str(tmp_path / "alerts.yaml")]
    }
    (tmp_path / "late.test.yaml").write_text(yaml.safe_dump(moved))
    done = promtool("test", "rules", tmp_path / "late.test.yaml")
    missed = set(re.findall(r"alertname: ?(\w+)", done.stdout + done.stderr))
    assert missed == {check["alertname"] for check in expectations(path) if check["exp_alerts"]}


@pytest.mark.parametrize("alert", ALERT_RULES)
def test_an_alert_says_how_bad_what_and_where_to_read_on(alert: str) -> None:
    rule = ALERT_RULES[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert "{{ $labels.run }}" in rule["annotations"]["summary"]
    path, anchor = rule["annotations"]["runbook"].split("#")
    headings = [line for line in (ROOT / path).read_text().splitlines() if line.startswith("## ")]
    assert anchor in map(heading_anchor, headings)


def test_the_runbook_has_a_page_for_each_alert_and_no_other() -> None:
    text = (ROOT / "docs/runbook.md").read_text()
    assert re.findall(r"^## (Dcgan\w+)$", text, re.MULTILINE) == list(ALERT_RULES)
    pages = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [
        page
        for page in pages
        if not all(f"**{part}:**" in page for part in ("Says", "Check", "Do"))
    ] == []
    severities = {
        page.split()[0]: re.findall(r"^Severity: (\w+)\.$", page, re.MULTILINE) for page in pages
    }
    assert severities == {name: [rule["labels"]["severity"]] for name, rule in ALERT_RULES.items()}


def test_every_recorded_series_is_used() -> None:
    expressions = " ".join(
        [*(rule["expr"] for rule in rules(ALERTS)), *(query.expr for query in panels.queries())]
    )
    recorded = {rule["record"] for rule in rules(RECORDING)}
    assert {name for name in recorded if name not in expressions} == set()
    assert set(re.findall(r"\b\w+:\w+:\w+\b", expressions)) <= recorded


@pytest.mark.parametrize("path", [RECORDING, ALERTS], ids=lambda path: path.stem)
def test_shortened_rules_differ_in_their_times_only(path: Path, tmp_path: Path) -> None:
    """Every range, offset and `for`: an unchanged offset would query a time before the test."""
    for rule, whole in zip(
        rules(shortened(path, tmp_path, 1 / 60, min_seconds=5)), rules(path), strict=True
    ):
        assert {**rule, "expr": "", "for": ""} == {**whole, "expr": "", "for": ""}
        assert SPAN.sub("", rule["expr"]) == SPAN.sub("", whole["expr"])
        minutes = [
            int(span[:-1]) * {"m": 1, "h": 60}[span[-1]] for span in SPAN.findall(whole["expr"])
        ]
        assert SPAN.findall(rule["expr"]) == [f"{max(5, seconds)}s" for seconds in minutes]
        assert rule.get("for", "0s") == f"{int(whole.get('for', '0m')[:-1])}s"
