"""The metrics server: its responses, its port, and no leaks."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from job.config.errors import ConfigError
from job.telemetry.server import MetricsServer, check_port

ROOT = Path(__file__).parents[2]
# The servers are on this machine: a proxy of the environment must not be asked.
http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("answer", "The answer.", registry=registry).set(42)
    return registry


def get(port: int, path: str, host: str = "127.0.0.1", **headers: str) -> tuple[str, str]:
    """Body and content type."""
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers)
    with http.open(request, timeout=10) as response:
        return response.read().decode(), response.headers["Content-Type"]


@contextmanager
def worker(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A worker's metrics served by another process: the process and its port."""
    command = [sys.executable, "-m", "tests.telemetry.worker", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_metrics_and_health(registry: CollectorRegistry) -> None:
    with MetricsServer(registry, 0) as server:
        text, content_type = get(server.port, "/metrics")
        assert "answer 42.0\n" in text
        assert content_type.startswith("text/plain")
        assert get(server.port, "/healthz")[0] == "ok"


def test_the_format_is_the_one_asked_for(registry: CollectorRegistry) -> None:
    with MetricsServer(registry, 0) as server:
        text, content_type = get(
            server.port, "/metrics", Accept="application/openmetrics-text; version=1.0.0"
        )
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_another_path_is_not_found(registry: CollectorRegistry) -> None:
    with MetricsServer(registry, 0) as server, pytest.raises(urllib.error.HTTPError, match="404"):
        get(server.port, "/")


def test_every_interface_is_ipv4_and_ipv6(registry: CollectorRegistry) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with MetricsServer(registry, 0) as server:
        assert get(server.port, "/healthz", host="[::1]")[0] == "ok"
        assert get(server.port, "/healthz", host="127.0.0.1")[0] == "ok"


def test_a_closed_server_frees_its_port(registry: CollectorRegistry) -> None:
    server = MetricsServer(registry, 0)
    server.start()
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=10)


def test_a_taken_port_is_refused_with_its_holder(registry: CollectorRegistry) -> None:
    with worker() as (process, port), pytest.raises(ConfigError) as refusal:
        MetricsServer(registry, port).start()
    text = str(refusal.value)
    assert text.startswith(f"metrics.port {port} is taken by python")
    assert f"(pid {process.pid})" in text
    assert text.endswith(
        "expected a free port: set another with `--set metrics.port=PORT`,"
        " or `--set metrics.port=0` for any free one"
    )


def test_with_or_any_a_taken_port_is_replaced_by_a_free_one(
    registry: CollectorRegistry,
) -> None:
    with worker() as (_, port), MetricsServer(registry, port, or_any=True) as server:
        assert server.port != port
        assert get(server.port, "/healthz")[0] == "ok"
    with pytest.raises(ConfigError, match=r"metrics\.port is 70000"):
        MetricsServer(registry, 70000, or_any=True).start()


def test_a_port_is_checked_and_left_free(registry: CollectorRegistry) -> None:
    with (
        worker() as (process, port),
        pytest.raises(
            ConfigError, match=rf"metrics\.port {port} is taken by .*\(pid {process.pid}\)"
        ),
    ):
        check_port(port)
    check_port(port)
    with MetricsServer(registry, port) as server:
        assert server.port == port


def test_an_address_of_another_machine_is_refused(registry: CollectorRegistry) -> None:
    # 192.0.2.0/24 is kept for documentation (RFC 5737): no machine has it.
    with pytest.raises(
        ConfigError,
        match=r"cannot listen on 192\.0\.2\.1:9400 .*expected an address of this machine",
    ):
        MetricsServer(registry, 9400, host="192.0.2.1").start()


def test_a_number_above_the_ports_is_refused(registry: CollectorRegistry) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.port is 70000; expected 0 .* to 65535"):
        MetricsServer(registry, 70000).start()


def test_a_port_is_free_again_right_after_a_crash() -> None:
    """Without SO_REUSEADDR a connection of the dead process would block the port for a minute."""
    with worker() as (process, port):
        get(port, "/metrics")  # the server closes first, so its side stays in TIME_WAIT
        with socket.create_connection(("127.0.0.1", port)):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    with worker(port) as (_, same_port):
        assert same_port == port
        assert get(port, "/healthz")[0] == "ok"


def test_a_client_that_disconnects_prints_nothing(
    registry: CollectorRegistry, capfd: pytest.CaptureFixture[str]
) -> None:
    with MetricsServer(registry, 0) as server:
        for _ in range(5):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )  # close() sends a reset
            client.sendall(b"GET /metrics HTTP/1.0\r\n")
            client.close()
        assert get(server.port, "/healthz")[0] == "ok"
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_thousand_scrapes_leave_nothing_behind() -> None:
    def state(pid: int) -> dict[str, int]:
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        memory_bytes = int(status["VmRSS"].split()[0]) * 1024
        return {
            "files": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": int(status["Threads"]),
            "memory": memory_bytes,
        }

    def scrape(port: int, number: int) -> None:
        accept = "application/openmetrics-text; version=1.0.0" if number % 2 else "text/plain"
        assert "dcgan_steps_total" in get(port, "/metrics", Accept=accept)[0]

    with worker() as (process, port):
        for number in range(100):
            scrape(port, number)
        before = state(process.pid)
        for number in range(1000):
            scrape(port, number)
        get(port, "/healthz")
        after = state(process.pid)
    # The threads of the last two requests may be about to end.
    assert after["files"] - before["files"] <= 2
    assert after["threads"] - before["threads"] <= 2
    assert after["memory"] - before["memory"] < 2**20
