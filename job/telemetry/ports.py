"""Find the process that listens on a TCP port of this machine."""

import psutil


def port_holder(port: int) -> str | None:
    """Return ``name (pid 123)`` of the process that listens on ``port``.

    None if there is none, or if it belongs to another user.
    """
    try:
        for socket in psutil.net_connections("tcp"):
            is_holder = socket.status == psutil.CONN_LISTEN and socket.laddr.port == port
            if is_holder and socket.pid is not None:
                return f"{psutil.Process(socket.pid).name()} (pid {socket.pid})"
    except psutil.Error:  # it ended, or this system does not allow it
        pass
    return None
