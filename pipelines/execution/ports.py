"""Free ports of the loopback interface."""

import secrets
import socket
from contextlib import suppress

HOST = "127.0.0.1"
PORTS = range(10_000, 32_768)  # below those that Linux, macOS and Windows give to clients, and to servers with port 0


def free_port() -> int:
    """A port on which nothing listens, outside the range from which the system assigns ports to clients."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """`count` different ports as from `free_port`."""
    ports: set[int] = set()
    while len(ports) < count:
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            ports.add(port)
    return list(ports)
