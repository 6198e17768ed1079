"""An HTTP proxy as companies have them: it forwards requests to one server and counts them.

with forward_proxy(server.endpoint_url) as proxy:
    subprocess.run([...], env=os.environ | {"http_proxy": proxy.url})
    assert proxy.requests
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class ForwardProxy:
    url: str
    requests: list[str] = field(default_factory=list)


@contextmanager
def forward_proxy(server_url: str) -> Iterator[ForwardProxy]:
    """Run a proxy that knows one server, whatever host a client names; a tunnel is refused."""
    upstream = urlsplit(server_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            proxy.requests.append(f"{self.command} {self.path}")
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = HTTPConnection(upstream, timeout=30)
            target = url._replace(scheme="", netloc="").geturl()
            connection.request(self.command, target, body, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
            connection.close()

        def do_CONNECT(self) -> None:
            proxy.requests.append(f"CONNECT {self.path}")
            self.send_error(403)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = ForwardProxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
