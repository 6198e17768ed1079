"""The HTTP server that Prometheus scrapes: ``/metrics``, and ``/healthz`` for a probe.

server = MetricsServer(metrics.registry, port=9100)
server.start()
"""

import errno
import logging
import math
import socket
import socketserver
import threading
import time
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler

from job.config.errors import ConfigError
from job.telemetry.ports import port_holder

log = logging.getLogger("dcgan.telemetry")

DEFAULT_PORT = 9400
IDLE_SECONDS = 30.0  # a silent client would otherwise keep its thread


class _Handler(MetricsHandler):
    server: "_Server"
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        """Serve ``/metrics`` in the requested format and ``/healthz``; 404 for the rest."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self.server.scraped_at = time.monotonic()
            super().do_GET()
        elif path == "/healthz":
            self._answer(200, b"ok")
        else:
            self._answer(404, b"not found; expected /metrics or /healthz\n")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


# http.server.HTTPServer resolves its host name when it binds: seconds if DNS does not know it.
class _Server(socketserver.ThreadingTCPServer):
    # A worker restarted after a crash gets its port despite connections in TIME_WAIT.
    allow_reuse_address = True
    daemon_threads = True
    scraped_at = -math.inf  # of time.monotonic()
    request_queue_size = 32

    def __init__(
        self, address: tuple[str, int], family: socket.AddressFamily, handler: type[_Handler]
    ) -> None:
        self.address_family = family
        super().__init__(address, handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The default prints a traceback to the worker's output if a scraper disconnects.
        log.debug("a metrics request was aborted", exc_info=True)


def _listen_address(host: str) -> tuple[str, socket.AddressFamily]:
    """Return address and family to bind; ``""`` is every interface, with IPv6 if there is any."""
    if not host:
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    return host, socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind_failure(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port) or "another process"
        problem, expected = f"metrics.port {port} is taken by {holder}", "a free port"
    elif error.errno == errno.EACCES:
        problem = f"metrics.port {port} needs privileges that this process lacks"
        expected = "a port above 1023"
    else:
        problem = f"metrics: cannot listen on {host or '*'}:{port} ({error.strerror or error})"
        expected = "an address of this machine and a free port"
    return ConfigError(
        f"{problem}; expected {expected}: set another with `--set metrics.port=PORT`,"
        " or `--set metrics.port=0` for any free one"
    )


def _bind(host: str, port: int, handler: type[_Handler]) -> _Server:
    """Return a server that listens on ``host:port``. Raises ``ConfigError`` if it cannot."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"metrics.port is {port}; expected 0 (any free port) to 65535")
    address, family = _listen_address(host)
    try:
        return _Server((address, port), family, handler)
    except OSError as error:
        raise _bind_failure(host, port, error) from error


def check_port(port: int, host: str = "") -> None:
    """Raise ``ConfigError`` if ``port`` cannot be listened on now."""
    _bind(host, port, _Handler).server_close()


class MetricsServer:
    """Serves ``registry`` on ``host:port`` from a daemon thread; a context manager.

    Port 0 is any free one; ``port`` has its number after ``start``. Host ``""`` is every interface.
    With ``or_any`` a taken port is replaced by any free one.
    """

    def __init__(
        self, registry: CollectorRegistry, port: int, host: str = "", *, or_any: bool = False
    ) -> None:
        self._registry = registry
        self._host = host
        self._or_any = or_any
        self.port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and serve. Raises ``ConfigError`` if the port is taken, forbidden or invalid."""
        if self._server is not None:
            raise RuntimeError("start() was called on a running metrics server")
        handler = type("Handler", (_Handler,), {"registry": self._registry})
        try:
            self._server = _bind(self._host, self.port, handler)
        except ConfigError as error:
            is_taken = getattr(error.__cause__, "errno", None) == errno.EADDRINUSE
            if not (self._or_any and is_taken):
                raise
            self._server = _bind(self._host, 0, handler)
        self.port = self._server.server_address[1]
        # The poll interval is how long close() waits at most.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics-server", daemon=True
        )
        self._thread.start()

    def was_scraped(self, seconds: float) -> bool:
        """Return True if the metrics were scraped in the last ``seconds``."""
        return self._server is not None and time.monotonic() - self._server.scraped_at <= seconds

    def close(self) -> None:
        """Stop serving and free the port; a no-op if the server is not running."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> "MetricsServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
