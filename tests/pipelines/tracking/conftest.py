"""A server that the tests of this package share; they may kill it."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.pipelines import synthetic
from tests.pipelines.tracking.server import Server


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that responds, and is the store of the working directory."""
    synthetic.enter(tmp_path, monkeypatch)
    mlflow.set_tracking_uri(running.uri)
    if not running.responds():
        running.start()
    return running
