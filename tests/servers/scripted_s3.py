"""An HTTP server that answers S3 requests by script, with errors that a real server rarely gives.

with scripted_s3([s3_error(503, "SlowDown", "Slow down."), Answer(200, b"data")]) as server:
    ...server.endpoint_url...
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import NamedTuple


class Answer(NamedTuple):
    """An answer. ``sent_bytes`` below the body's length breaks the connection there.

    A ``status`` of None breaks it before the answer.
    """

    status: int | None = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    sent_bytes: int | None = None


class Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Script = Sequence[Answer] | Callable[[Request], Answer]


@dataclass
class ScriptedS3:
    endpoint_url: str
    requests: list[Request] = field(default_factory=list)
    num_connections: int = 0


def s3_error(status: int, code: str, message: str, extra: str = "") -> Answer:
    """Return an error in S3's XML; ``extra`` is more XML inside."""
    inner = f"<Code>{code}</Code><Message>{message}</Message>{extra}"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'
    return Answer(status, body.encode(), {"Content-Type": "application/xml"})


@contextmanager
def silent_server() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def scripted_s3(script: Script) -> Iterator[ScriptedS3]:
    """Run the server: a list is answered in order, its last answer repeatedly."""
    state = ScriptedS3("")
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with lock:
                state.num_connections += 1

        def handle_request(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                # The client gave up, as boto3 does with the other parts of a failed upload.
                self.close_connection = True
                return
            request = Request(self.command, self.path, dict(self.headers), body)
            with lock:
                position = len(state.requests)
                state.requests.append(request)
            answer = script(request) if callable(script) else script[min(position, len(script) - 1)]
            if answer.status is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            length = (
                {}
                if "Transfer-Encoding" in answer.headers
                else {"Content-Length": str(len(answer.body))}
            )
            for name, value in {**length, **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.sent_bytes])
            self.close_connection = answer.sent_bytes is not None

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_request

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.endpoint_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
