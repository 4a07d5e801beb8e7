"""Free ports of this machine."""

import errno
import random
import socket

HOST = "127.0.0.1"
# Below those that Linux, macOS and Windows give to clients, and to servers with port 0; above those of Ray's workers.
PORTS = range(20_000, 32_768)
IN_USE = {errno.EADDRINUSE, errno.EACCES}  # Windows refuses excluded ranges as a lack of permission


def free_port(host: str = HOST) -> int:
    """A port of `host` on which nothing listens, outside the range from which the system assigns ports by default."""
    return free_ports(1, host)[0]


def free_ports(count: int, host: str = HOST) -> list[int]:
    """`count` different ports as from `free_port`. Raises OSError if there are not as many."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if len(ports) == count:
            break
        if _is_free(host, port):
            ports.append(port)
    if len(ports) < count:
        raise OSError(errno.EADDRINUSE, f"{host}: {len(ports)} of {count} ports are free")
    return ports


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in IN_USE:
                return False
            raise
    return True
