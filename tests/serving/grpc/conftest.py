"""The gRPC server of a worker in a thread of this process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry

from pipelines.execution.ports import free_port
from serving.application import Application
from serving.grpc import routes
from serving.grpc.server import Server
from serving.monitoring.metrics import Metrics
from serving.settings import Settings
from serving.worker import Worker
from tests.serving.conftest import PATIENCE, unused_application


@dataclass
class LocalServer:
    """A worker that serves gRPC at `address`."""

    worker: Worker
    address: str


class Serving(threading.Thread):
    """Runs a worker and its gRPC server in an event loop of its own."""

    def __init__(self, settings: Settings, config: uvicorn.Config) -> None:
        super().__init__()
        self.worker = Worker(settings, Metrics(CollectorRegistry()))
        self._server = Server(Application(unused_application, settings, lambda: self.worker, routes.find), settings)
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self.started = threading.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self.join(PATIENCE)

    async def _serve(self) -> None:
        await self.worker.start()
        await self._server.start("127.0.0.1", self._config)
        self.started.set()
        await self._stopped.wait()
        await self._server.stop()
        await self.worker.stop()


@pytest.fixture
def serve_grpc() -> Iterator[Callable[..., LocalServer]]:
    """Makes a LocalServer for a champion's folder and settings; `tls` has uvicorn's options of certificates."""
    threads = []

    def make(folder: Path, tls: dict[str, Any] | None = None, **changes: Any) -> LocalServer:
        settings = Settings(champion=folder, grpc_port=free_port(), **changes)
        thread = Serving(settings, uvicorn.Config(unused_application, **tls or {}))
        thread.start()
        threads.append(thread)
        assert thread.started.wait(PATIENCE)
        return LocalServer(thread.worker, f"127.0.0.1:{settings.grpc_port}")

    yield make
    for thread in threads:
        thread.stop()
