"""Free TCP ports of this machine."""

import socket


def free_port() -> int:
    """A port that nothing listens on now. Another program may take it before you do: servers here are started again on a new one then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
