"""A real run with real faults fills every panel, fires alerts and shows its last values."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.dashboards.curves import curves
from tests.dashboards.panels import Query, queries, variables
from tests.dashboards.scenario import Scenario, scripted_run

pytestmark = [
    pytest.mark.live,
    pytest.mark.cluster,
    pytest.mark.training,
    pytest.mark.s3,
    pytest.mark.prometheus,
    pytest.mark.timeout(600),
]

INTERVAL = (
    "10s"  # what Grafana would choose for a scrape every second, with room for a busy machine
)
QUERIES = list(queries())
# Never before something has gone wrong with it; the run of this test does not hang or meet a GPU.
INDUCED = {"DcganCheckpointFailing", "DcganStoreThrottled", "DcganNoProgress", "DcganNonFinite"}


class Lived(NamedTuple):
    scenario: Scenario
    start: float
    end: float


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, ray_folder: Path) -> Iterator[Lived]:
    start = time.time()
    with scripted_run(tmp_path_factory.mktemp("eventful"), ray_folder) as scenario:
        yield Lived(scenario, start, time.time())


def name_of(query: Query) -> str:
    return f"{query.board}-{query.panel}-{query.legend}".strip("-")


@pytest.mark.parametrize(
    "query", [query for query in QUERIES if not query.from_others], ids=name_of
)
def test_a_panel_is_filled(query: Query, lived: Lived) -> None:
    asked = query.filled(variables("eventful", INTERVAL))
    assert curves(lived.scenario.server, asked, lived.start, lived.end), asked


@pytest.mark.parametrize("query", [query for query in QUERIES if query.from_others], ids=name_of)
def test_a_panel_of_what_others_measure_stays_empty_without_them(
    query: Query, lived: Lived
) -> None:
    assert (
        curves(
            lived.scenario.server,
            query.filled(variables("eventful", INTERVAL)),
            lived.start,
            lived.end,
        )
        == []
    ), query.from_others


@pytest.mark.parametrize("alert", sorted(INDUCED))
def test_an_alert_fires(alert: str, lived: Lived) -> None:
    fired = curves(
        lived.scenario.server,
        f'ALERTS{{alertname="{alert}", alertstate="firing"}}',
        lived.start,
        lived.end,
    )
    assert [curve.labels["run"] for curve in fired] == ["eventful"]


def test_no_alert_fires_while_the_run_is_well(lived: Lived) -> None:
    first_fault = next(
        moment.time for moment in lived.scenario.moments if moment.what == "store refuses"
    )
    fired = curves(
        lived.scenario.server, 'ALERTS{alertstate="firing"}', lived.start, first_fault - 1
    )
    # 30 minutes of the rules are 45 s here, and starting Ray can take that long.
    assert {curve.labels["alertname"] for curve in fired} <= {"DcganStartStuck"}


def test_the_last_values_are_not_lost(lived: Lived) -> None:
    """The run ended after the second NaN: its last count, scraped while it lingered."""
    assert lived.scenario.exit_code == 4
    counted = curves(lived.scenario.server, "max(dcgan_non_finite_total)", lived.start, lived.end)[
        0
    ]
    assert max(counted.values) == 2


def test_the_pictures_of_the_documentation_can_be_drawn(lived: Lived) -> None:
    pytest.importorskip("matplotlib")
    from tests.dashboards.draw import PICTURES, draw

    for board, titles in PICTURES.values():
        figure = draw(
            lived.scenario.server, lived.scenario.moments, board, titles, lived.start, lived.end
        )
        assert [axes.get_title("left") for axes in figure.axes if axes.has_data()] == titles


def test_restarts_are_counted(lived: Lived) -> None:
    counted = curves(lived.scenario.server, "max(dcgan_restarts_total)", lived.start, lived.end)[0]
    assert (min(counted.values), max(counted.values)) == (0, 1)
