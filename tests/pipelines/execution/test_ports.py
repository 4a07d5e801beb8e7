import errno
import os
import socket
import sys

import pytest

from pipelines.execution import ports


def test_ports_are_different_and_below_those_that_clients_are_given():
    found = ports.free_ports(1000)
    assert len(set(found)) == 1000
    assert set(found) <= set(ports.PORTS)


def test_a_port_in_use_is_not_free(monkeypatch):
    free = ports.free_port()
    with socket.create_server((ports.HOST, 0)) as server:
        used = server.getsockname()[1]
        monkeypatch.setattr(ports, "PORTS", [used, free])
        assert ports.free_port() == free
        with pytest.raises(OSError, match="1 of 2 ports are free"):
            ports.free_ports(2)


def test_other_errors_are_raised():
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        ports.free_port("192.0.2.1")  # RFC 5737: of no machine


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have 127.0.0.1 alone")
def test_ports_are_those_of_the_named_address(monkeypatch):
    used, free = ports.free_ports(2)
    with socket.create_server(("127.0.0.2", used)):
        monkeypatch.setattr(ports, "PORTS", [used])
        assert ports.free_port() == used
        monkeypatch.setattr(ports, "PORTS", [used, free])
        assert ports.free_port("127.0.0.2") == free
