"""The curves of a panel: Prometheus' answer to a query over a time range."""

import json
import math
import urllib.parse
from typing import NamedTuple

from tests.servers.prometheus import Prometheus, http


class Curve(NamedTuple):
    """One series: its labels, and its points; those without a number are left out."""

    labels: dict[str, str]
    times: list[float]
    values: list[float]


def curves(
    server: Prometheus, promql: str, start: float, end: float, step_seconds: float = 1.0
) -> list[Curve]:
    """The series of a range query that have at least one number. Times are seconds since 1970."""
    data = urllib.parse.urlencode(
        {"query": promql, "start": start, "end": end, "step": step_seconds}
    ).encode()
    with http.open(f"{server.url}/api/v1/query_range", data, timeout=30) as response:
        result = json.load(response)["data"]["result"]
    found = []
    for series in result:
        points = [
            (float(time), float(value))
            for time, value in series["values"]
            if math.isfinite(float(value))
        ]
        if points:
            found.append(
                Curve(
                    series["metric"], [time for time, _ in points], [value for _, value in points]
                )
            )
    return found
