"""The address that the service listens on, and the warning where others can reach it without a key."""

import socket
from pathlib import Path

import httpx
import psutil
import pytest

from serving.connections import server
from serving.settings import Settings
from tests.serving.bundles import DIGITS, raw
from tests.serving.conftest import ROOT, Served, running

WARNING = "without TANDEM_API_KEY"


def addresses(served: Served) -> set[str]:
    """Those at which the service listens on its port."""
    sockets = psutil.Process(served.process.pid).net_connections("tcp")
    port = int(served.url.rpartition(":")[2])
    return {each.laddr.ip for each in sockets if each.laddr.port == port}


def test_it_is_that_of_bentoml_host(served: Served, digits: Path) -> None:
    """A container sets it. Without it and an option it is 127.0.0.1, see `test_json_log`; BentoML's is 0.0.0.0.

    The second service of a machine leaves the counters of the first, though both have the same home.
    """

    def predictions() -> str:
        lines = httpx.get(f"{served.url}/metrics").text.splitlines()
        return next(line for line in lines if line.startswith("tandem_run_rows_sum"))

    httpx.post(f"{served.url}/predict", json={"inputs": raw(DIGITS, 3).tolist()})
    before, host = predictions(), "127.0.0.2"
    variables = {"BENTOML_HOST": host, "BENTOML_HOME": str(served.output.parent)}
    variables |= {"TANDEM_CHAMPION": str(digits), "TANDEM_WORKERS": "1"}
    second = served.output.parent / "second"
    with running("serving.service:Tandem", ROOT, second, host, given=False, **variables) as other:
        assert predictions() == before
        assert addresses(other) == {host}
        assert WARNING not in other.output.read_text()


@pytest.mark.parametrize(
    ("host", "key", "expected"),
    [("0.0.0.0", "", True), ("0.0.0.0", "secret", False), ("127.0.0.1", "", False), ("127.0.0.2", "", False)],
)
def test_a_public_address_without_a_key_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, host: str, key: str, expected: bool
) -> None:
    monkeypatch.setattr(server.log, "propagate", True)
    with socket.socket() as listener:
        listener.bind((host, 0))  # nobody listens
        server._warn_without_key(listener, Settings(api_key=key))
        port = listener.getsockname()[1]
    assert [record.getMessage().startswith(f"listening on {host}:{port}") for record in caplog.records] == [
        True
    ] * expected
    assert (WARNING in caplog.text) == expected
