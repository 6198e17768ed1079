"""A proxy between an S3 client and a real S3 server that injects faults into chosen requests.

Knows HTTP/1.1, never S3. Heads and bodies pass byte for byte, also the Host header, which the
signature covers. Each client connection has its own to the server, and both end together.

with fault_proxy(server.endpoint_url) as proxy:
    proxy.fault(Fault.ERROR_500, times=3, match=".u8")
    proxy.limit_bytes_per_second = 5e6
    subprocess.run([...], env=os.environ | server.env() | {"AWS_ENDPOINT_URL": proxy.endpoint_url})
    assert proxy.injected[Fault.ERROR_500] == 3
"""

import contextlib
import fcntl
import select
import socket
import socketserver
import struct
import termios
import time
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from threading import Condition, Lock, Thread
from typing import Any, NoReturn
from urllib.parse import urlsplit

from tests.servers.faults import ERRORS, WITH_BODY, Fault, Rule
from tests.servers.http_wire import Head, Peer
from tests.servers.scripted_s3 import s3_error

# Time slice of one connection on a limited link, and the most lateness that the link makes up for.
_TURN_SECONDS = 0.01


class FaultProxy(socketserver.ThreadingTCPServer):
    """A running proxy. A request is counted before it is answered."""

    request_queue_size = 128

    def __init__(self, server_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.endpoint_url = f"http://127.0.0.1:{self.server_address[1]}"
        # Of bodies, both ways, over all connections. None means unlimited.
        self.limit_bytes_per_second: float | None = None
        # Why the server's policy denies a request, or None; the server is not asked then.
        self.denies: Callable[[Head], str | None] = lambda request: None
        self._requests: Counter[tuple[str, str]] = Counter()
        self._injected: Counter[Fault] = Counter()
        self._body_bytes: Counter[str] = Counter()
        self._upstream = (urlsplit(server_url).hostname, urlsplit(server_url).port)
        self._rules: list[Rule] = []
        self._link_free_at = 0.0
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = Lock()
        self._waiting, self._num_released, self._is_closing = Condition(), 0, False

    def fault(self, fault: Fault, **which: Any) -> None:
        """Inject a fault into the requests that ``which``, fields of ``Rule``, matches."""
        with self._lock:
            self._rules.append(Rule(fault=fault, **which))

    def clear(self) -> None:
        """Inject no fault into later requests."""
        with self._lock:
            self._rules.clear()

    def release(self) -> None:
        """Clear, and pass on what is stalled or held now."""
        self.clear()
        with self._waiting:
            self._num_released += 1
            self._waiting.notify_all()

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """Number of requests by method and path, spoiled ones too."""
        with self._lock:
            return self._requests.copy()

    @property
    def injected(self) -> Counter[Fault]:
        """Number of requests by what was done to them."""
        with self._lock:
            return self._injected.copy()

    @property
    def body_bytes(self) -> Counter[str]:
        """Return the body bytes of the server's answers by path, without injected errors."""
        with self._lock:
            return self._body_bytes.copy()

    def close(self) -> None:
        """Ends all connections, also stalled ones, and all threads."""
        self.shutdown()
        with self._waiting:
            self._is_closing = True
            self._waiting.notify_all()
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def connect_for(self, client: socket.socket) -> socket.socket:
        """A connection to the server for one client."""
        upstream = socket.create_connection(self._upstream)
        with self._lock:
            self._sockets |= {client, upstream}
        return upstream

    def rule_for(self, request: Head, faults: Collection[Fault]) -> Rule | None:
        with self._lock:
            rule = next(
                (rule for rule in self._rules if rule.fault in faults and rule.hits(request)), None
            )
            if rule:
                self._injected[rule.fault] += 1
            return rule

    @property
    def num_released(self) -> int:
        with self._waiting:
            return self._num_released

    def count(self, request: Head, *, body_bytes: int | None = None) -> None:
        """One more request, or more bytes of the answer to one."""
        with self._lock:
            if body_bytes is None:
                self._requests[request.word(0), request.path()] += 1
            else:
                self._body_bytes[request.path()] += body_bytes

    def wait(self, seconds: float, num_released: int | None = None) -> None:
        """Wait until released, also if that was done since ``num_released``."""
        with self._waiting:
            before = self._num_released if num_released is None else num_released
            self._waiting.wait_for(
                lambda: self._is_closing or self._num_released != before, seconds
            )
            is_closing = self._is_closing
        if is_closing:
            raise ConnectionError("the proxy is being closed")

    def turns(self, piece: bytes) -> Iterator[memoryview]:
        """The piece in as many parts as the limit wants, each when it may go."""
        view = memoryview(piece)
        while view:
            num_bytes, rate = len(view), self.limit_bytes_per_second
            if rate is not None:
                num_bytes = min(num_bytes, max(1, int(rate * _TURN_SECONDS)))
                with self._lock:
                    now = time.monotonic()
                    start = max(self._link_free_at, now - _TURN_SECONDS)
                    self._link_free_at = start + num_bytes / rate
                self.wait(start - now)
            yield view[:num_bytes]
            view = view[num_bytes:]


class _Connection(socketserver.BaseRequestHandler):
    """One client's connection, in a thread. A ``ConnectionError`` ends it."""

    server: FaultProxy

    def handle(self) -> None:
        with contextlib.suppress(OSError), self.server.connect_for(self.request) as upstream:
            self.server.wait(0)  # a proxy that closes has seen these sockets, or is seen here
            self.client, self.upstream = Peer(self.request), Peer(upstream)
            self.poll = select.poll()
            self.poll.register(self.request, select.POLLIN)
            self.poll.register(upstream, select.POLLIN)
            while not self._server_speaks_first():  # between requests it only ever hangs up
                self._exchange(Head(self.client.until(b"\r\n\r\n")))

    def _server_speaks_first(self) -> bool:
        return not self.client.received and self.upstream.socket.fileno() in {
            number for number, _ in self.poll.poll()
        }

    def _exchange(self, request: Head) -> None:
        self.server.count(request)
        # Before a fault is counted: a test that sees the count may release at once.
        self.num_released = self.server.num_released
        if rule := self.server.rule_for(request, ERRORS):
            self._answer_error(request, *ERRORS[rule.fault])
            return
        if why := self.server.denies(request):
            self._answer_error(request, 403, "AccessDenied", why)
            return
        if rule := self.server.rule_for(request, {Fault.HOLD}):
            self.server.wait(rule.stall_seconds, self.num_released)
        self.upstream.socket.sendall(request.raw)
        # A server asks for the body first; a client that has waited too long sends it anyway.
        if (
            request.header("Expect")
            and self._server_speaks_first()
            and self._pass_answer(request) >= 200
        ):
            raise ConnectionError(
                "refused before its body: where the next request would begin is not certain"
            )
        for piece in self.client.body(request.num_bytes()):
            for turn in self.server.turns(piece):
                self.upstream.socket.sendall(turn)
        while self._pass_answer(request) < 200:
            pass

    def _answer_error(self, request: Head, status: int, code: str, message: str) -> None:
        if request.header("Expect"):
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        for _ in self.client.body(request.num_bytes()):
            pass
        body = s3_error(
            status, code, message, "<RequestId>0A1B2C</RequestId><HostId>host</HostId>"
        ).body
        head = (
            f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        self.request.sendall(head if request.word(0) == "HEAD" else head + body)

    def _pass_answer(self, request: Head) -> int:
        """The status of the server's next answer, which the client then has."""
        answer = Head(self.upstream.until(b"\r\n\r\n"))
        status = int(answer.word(1))
        num_bytes = (
            0
            if request.word(0) == "HEAD" or status < 200 or status in (204, 304)
            else answer.num_bytes()
        )
        faults = (WITH_BODY if num_bytes and status < 300 else set()) | (
            {Fault.LOST_ANSWER} if status >= 200 else set()
        )
        rule = self.server.rule_for(request, faults)
        if rule and rule.fault is Fault.LOST_ANSWER:
            self._reset()
        self.request.sendall(answer.raw)
        whole_bytes = rule.whole_bytes(num_bytes) if rule and num_bytes else 0
        for piece in self.upstream.body(num_bytes):
            if rule and whole_bytes < len(piece):
                self._send(request, piece[:whole_bytes])
                piece, rule = self._spoiled(rule, piece[whole_bytes:]), None
            whole_bytes -= len(piece)
            self._send(request, piece)
        return status

    def _send(self, request: Head, piece: bytes) -> None:
        for turn in self.server.turns(piece):
            self.server.count(request, body_bytes=len(turn))
            self.request.sendall(turn)

    def _spoiled(self, rule: Rule, rest: bytes) -> bytes:
        """Return the rest of the body, from the faulty byte on."""
        if rule.fault is Fault.RESET:
            self._reset()
        if rule.fault is Fault.TRUNCATE:
            raise ConnectionError("truncated")
        if rule.fault is Fault.STALL:
            self.server.wait(rule.stall_seconds, self.num_released)
            return rest
        return bytes([rest[0] ^ 1]) + rest[1:]

    def _reset(self) -> NoReturn:
        while fcntl.ioctl(self.request, termios.TIOCOUTQ, bytes(4)) != bytes(
            4
        ):  # a reset takes back what is still under way
            self.server.wait(0.001)
        self.request.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )  # on, with no time at all
        self.request.close()  # before ``socketserver`` shuts it down in order
        raise ConnectionError("reset")


@contextlib.contextmanager
def fault_proxy(server_url: str) -> Iterator[FaultProxy]:
    """A proxy before ``server_url`` (``http://host:port``), ended with the block."""
    proxy = FaultProxy(server_url)
    thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
