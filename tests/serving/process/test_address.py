"""The address that the service listens on, and the warning where others can reach it without a key."""

import socket
from pathlib import Path

import psutil
import pytest

from serving.connections import server
from serving.settings import Settings
from tests.serving.bundles import DIGITS, weights, write
from tests.serving.conftest import ROOT, running

WARNING = "without TANDEM_API_KEY"


@pytest.mark.parametrize(("host", "changes"), [("127.0.0.1", {}), ("127.0.0.2", {"BENTOML_HOST": "127.0.0.2"})])
def test_it_is_127_0_0_1_unless_a_host_is_given(tmp_path: Path, host: str, changes: dict[str, str]) -> None:
    """BentoML listens on all interfaces; a container sets BENTOML_HOST."""
    champion = write(tmp_path / "champion", weights(DIGITS))
    variables = changes | {"TANDEM_CHAMPION": str(champion), "TANDEM_WORKERS": "1"}
    with running("serving.service:Tandem", ROOT, tmp_path / "home", host, given=False, **variables) as served:
        sockets = psutil.Process(served.process.pid).net_connections("tcp")
        port = int(served.url.rpartition(":")[2])
        assert {each.laddr.ip for each in sockets if each.laddr.port == port} == {host}
        assert WARNING not in served.output.read_text()


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
