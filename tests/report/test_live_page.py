"""The live page answers one address on loopback, and nothing else."""

import socket
import urllib.error
import urllib.parse

import pytest

from job.report.live_page import LivePage
from tests.servers.prometheus import http


def test_the_newest_page_is_served_without_a_cache() -> None:
    with LivePage(b"one") as live:
        with http.open(live.url, timeout=30) as answer:
            assert answer.read() == b"one"
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["Cache-Control"] == "no-store"
        live.show(b"two, which is longer")
        with http.open(live.url, timeout=30) as answer:
            assert answer.read() == b"two, which is longer"


def test_it_is_known_whether_a_browser_has_the_newest_page() -> None:
    with LivePage(b"one") as live:
        assert not live.wait_until_sent(0)
        with http.open(live.url, timeout=30):
            assert live.wait_until_sent(30)
        live.show(b"two")
        assert not live.wait_until_sent(0)


@pytest.mark.parametrize("path", ["/", "/report.html", "/../", "/{path}/", "/{path}?x", ""])
def test_another_path_is_not_found(path: str) -> None:
    with LivePage(b"secret") as live:
        address = urllib.parse.urlsplit(live.url)
        with socket.create_connection((address.hostname, address.port), 30) as connection:
            wanted = path.format(path=address.path.lstrip("/")) or "*"
            connection.sendall(f"GET {wanted} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.0 404 ")
        assert b"secret" not in answer
        assert not live.wait_until_sent(0)


def test_only_this_machine_is_answered_until_the_end() -> None:
    with LivePage(b"one") as live:
        address = urllib.parse.urlsplit(live.url)
        assert address.hostname == "127.0.0.1"
        assert len(address.path) > 20
        for other in ("127.0.0.2", "::1"):
            with pytest.raises(OSError):
                socket.create_connection((other, address.port), 5)
    with pytest.raises(urllib.error.URLError):
        http.open(live.url, timeout=30)
