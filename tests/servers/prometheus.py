"""A real Prometheus on a free port that scrapes the given targets every second.

with prometheus(["127.0.0.1:9400"], tmp_path) as server:
    server.query("dcgan_step")
"""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml

from tests.servers.ports import free_port
from tests.servers.process import server_process
from tests.servers.tools import require_tool

T = TypeVar("T")


# The servers are local: ignore the proxy of the environment.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Series(NamedTuple):
    """One series of an instant query: its labels and its value now."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """A running server at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, promql: str) -> list[Series]:
        """Return the series of an instant query; raise ``ValueError`` for a bad query."""
        data = urllib.parse.urlencode({"query": promql}).encode()
        try:
            with http.open(f"{self.url}/api/v1/query", data, timeout=10) as response:
                result = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{promql}: {error.read().decode()}") from error
        return [Series(series["metric"], float(series["value"][1])) for series in result]

    def value(self, promql: str) -> float | None:
        """Return the value of a query that gives one series, or None if it gives none."""
        series = self.query(promql)
        if len(series) > 1:
            raise ValueError(f"{promql} gives {len(series)} series; expected one")
        return series[0].value if series else None


def wait_for(what: str, ready: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Return the first true answer of ``ready``; fail with ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(
                f"waited {seconds:.0f} s for {what}; the last answer was {answer!r}"
            )
        time.sleep(0.1)


@contextmanager
def prometheus(
    targets: Sequence[str], folder: Path, rules: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """Run a server that scrapes ``targets`` (``host:port``), with its data in ``folder``.

    ``rules`` are files of recording and alerting rules, evaluated every second.
    """
    program = require_tool("prometheus")
    config = folder / "prometheus.yml"
    scrape = {"job_name": "dcgan-train", "static_configs": [{"targets": list(targets)}]}
    intervals = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config.write_text(
        yaml.safe_dump(
            {
                "global": intervals,
                "scrape_configs": [scrape],
                "rule_files": [str(path) for path in rules],
            }
        )
    )
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with server_process(
        command, lambda: _answers(f"http://{address}/-/ready"), folder / "prometheus.log"
    ):
        yield Prometheus(f"http://{address}")


def _answers(url: str) -> bool:
    try:
        with http.open(url, timeout=5):
            return True
    except OSError:
        return False
