"""The process that listens on a port is found."""

import os
import socket

from job.telemetry.ports import port_holder


def test_the_holder_of_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert str(port_holder(port)).endswith(f"(pid {os.getpid()})")
    assert port_holder(port) is None
