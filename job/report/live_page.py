"""One page served on loopback, for a browser on this machine.

Its address has a random path that other users of the machine, and other pages in the browser, do
not know. There is nothing else to request.

    with LivePage(page) as live:
        print(live.url)
        live.show(newer_page)
"""

import secrets
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

IDLE_SECONDS = 30.0  # a silent client would otherwise keep its thread


class LivePage:
    """Serves a page from a thread, on a free port, until it is closed; a context manager."""

    def __init__(self, page: bytes):
        self._path = f"/{secrets.token_urlsafe(16)}"
        self.show(page)
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def show(self, page: bytes) -> None:
        """Serve ``page`` from now on."""
        self._current = page, threading.Event()

    def wait_until_sent(self, seconds: float) -> bool:
        """Wait at most ``seconds`` until a browser has the page; return whether it has."""
        return self._current[1].wait(seconds)

    def __enter__(self) -> "LivePage":
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        live = self

        class Handler(BaseHTTPRequestHandler):
            timeout = IDLE_SECONDS

            def do_GET(self) -> None:
                if self.path != live._path:
                    self.send_error(404)
                    return
                page, was_sent = live._current
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(page)
                was_sent.set()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


# http.server.HTTPServer resolves its host name when it binds: seconds if DNS does not know it.
class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that disconnects; the default prints a traceback."""
