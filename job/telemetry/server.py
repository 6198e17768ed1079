"""The HTTP server that Prometheus scrapes: ``/metrics``, and ``/healthz`` for a probe.

Knows a registry, not what is in it. Reading a scrape takes no lock that a training step waits for long.

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
IDLE_SECONDS = 30.0


class _Handler(MetricsHandler):
    server: "_Server"
    # A client that connects and says nothing would hold its thread for ever.
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        """``/metrics`` in the format the client asks for, ``/healthz`` as ``ok``, 404 for the rest."""
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


# Not http.server.HTTPServer: that one looks up its own host name when it binds, which takes seconds where DNS does not know it.
class _Server(socketserver.ThreadingTCPServer):
    # SO_REUSEADDR: a worker started again right after a crash gets its port although old connections are still in TIME_WAIT.
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
        # A scraper that hangs up is its own business; by default this would print a traceback into the worker's output.
        log.debug("a metrics request broke off", exc_info=True)


def _listen_address(host: str) -> tuple[str, socket.AddressFamily]:
    """Where to bind: every interface for ``""``, over IPv6 and IPv4 at once where the machine has both (pods of an IPv6 cluster)."""
    if not host:
        return (
            ("::", socket.AF_INET6) if socket.has_dualstack_ipv6() else ("0.0.0.0", socket.AF_INET)
        )
    return host, socket.AF_INET6 if ":" in host else socket.AF_INET


def _bind_failure(host: str, port: int, error: OSError) -> ConfigError:
    """The error to show when ``host:port`` cannot be listened on: what is in the way and what to do."""
    another = (
        "set another with `--set metrics.port=PORT`, or `--set metrics.port=0` for any free one"
    )
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port)
        return ConfigError(
            f"metrics.port {port} is taken by {holder or 'another process'}; expected a free port: {another}"
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            f"metrics.port {port} needs privileges that this process lacks; expected a port above 1023: {another}"
        )
    where, cause = f"{host or '*'}:{port}", error.strerror or error
    return ConfigError(
        f"metrics: cannot listen on {where} ({cause}); expected an address of this machine and a free port: {another}"
    )


def _bind(host: str, port: int, handler: type[_Handler]) -> _Server:
    """Return a server that listens on ``host:port``; ``ConfigError`` if it cannot."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"metrics.port is {port}; expected 0 (any free port) to 65535")
    address, family = _listen_address(host)
    try:
        return _Server((address, port), family, handler)
    except OSError as error:
        raise _bind_failure(host, port, error) from error


def check_port(port: int, host: str = "") -> None:
    """Raise ``ConfigError`` if nothing can listen on ``port`` now; listens for a moment."""
    _bind(host, port, _Handler).server_close()


class MetricsServer:
    """Serves ``registry`` on ``host:port`` from a daemon thread; also a context manager.

    ``port`` 0 takes any free one, and ``port`` says which after ``start``; ``host`` ``""`` is every interface. With ``or_any`` a taken port
    is replaced by any free one.
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
        """Bind and serve. Raises ``ConfigError`` when the port is taken (naming the process that has it), forbidden or no port."""
        if self._server is not None:
            raise RuntimeError("start() was called on a metrics server that runs")
        handler = type("Handler", (_Handler,), {"registry": self._registry})
        try:
            self._server = _bind(self._host, self.port, handler)
        except ConfigError as error:
            if not (
                self._or_any
                and isinstance(error.__cause__, OSError)
                and error.__cause__.errno == errno.EADDRINUSE
            ):
                raise
            self._server = _bind(self._host, 0, handler)
        self.port = self._server.server_address[1]
        # The poll interval is how long close() waits at most.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics-server", daemon=True
        )
        self._thread.start()

    def was_scraped(self, seconds: float) -> bool:
        """Whether somebody asked for the metrics in the last ``seconds``."""
        return self._server is not None and time.monotonic() - self._server.scraped_at <= seconds

    def close(self) -> None:
        """Stop serving and free the port; nothing happens on a server that does not run."""
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
