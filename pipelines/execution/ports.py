"""Ports for processes of this machine."""

import secrets
import socket
from contextlib import suppress

HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)  # below those that Linux, macOS and Windows give to clients, and to servers with port 0


def free_port() -> int:
    """A port of the loopback interface on which nothing listens, and that no client is given until a server starts."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            found.add(port)
    return list(found)
