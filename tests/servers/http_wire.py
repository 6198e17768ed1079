"""HTTP/1.1 on the wire, for a proxy that passes it on unchanged: heads, and bodies in pieces."""

import re
import socket
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote

_PIECE_BYTES = 1 << 18


class Head(NamedTuple):
    """Start line and headers, as on the wire."""

    raw: bytes

    def word(self, index: int) -> str:
        return self.raw.partition(b"\r\n")[0].split(b" ")[index].decode()

    def path(self) -> str:
        return unquote(self.word(1).partition("?")[0])

    def header(self, name: str) -> str:
        found = re.search(rb"(?im)^%s:[ \t]*([^\r\n]*)" % name.encode(), self.raw)
        return found[1].decode().strip() if found else ""

    def num_bytes(self) -> int | None:
        """Return the size of the body, None if chunked. S3 sends no body without a length."""
        return None if self.header("Transfer-Encoding") else int(self.header("Content-Length") or 0)


class Peer:
    """One end of a connection, with a buffer of what it sent."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket, self.received = connected, b""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _receive(self) -> None:
        data = self.socket.recv(_PIECE_BYTES)
        if not data:
            raise ConnectionError("ended by the other side")
        self.received += data

    def until(self, end: bytes) -> bytes:
        while end not in self.received:
            self._receive()
        text, _, self.received = self.received.partition(end)
        return text + end

    def body(self, num_bytes: int | None) -> Iterator[bytes]:
        """Yield the body in pieces, as on the wire; None is chunked."""
        left = num_bytes or 0
        while left:
            if not self.received:
                self._receive()
            piece, self.received = self.received[:left], self.received[left:]
            left -= len(piece)
            yield piece
        while num_bytes is None:
            frame = self.until(b"\r\n")
            yield frame
            if size := int(frame.partition(b";")[0], 16):
                yield from self.body(size + 2)
                continue
            while frame != b"\r\n":  # trailers, and the empty line after them
                frame = self.until(b"\r\n")
                yield frame
            return
