from pipelines.execution.ports import PORTS, free_ports


def test_ports_are_different_and_no_client_is_given_them():
    found = free_ports(1000)
    assert len(set(found)) == 1000
    assert set(found) <= set(PORTS)
