"""Free TCP ports of this machine."""

import socket


def free_port() -> int:
    """Return a port that nothing listens on. Another program may take it first: then retry."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
