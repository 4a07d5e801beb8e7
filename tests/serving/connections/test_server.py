"""The server of a worker: the bound of all unread responses, and what it does not do for each request."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from uvicorn import Config

from serving import routes
from serving.connections.server import Server, _limit_unsent
from serving.connections.shared_counts import SharedCounts
from serving.settings import Settings
from tests.serving.conftest import unused_application


@dataclass
class Connected:
    """A connection with so many unread bytes; those of an odd number are being read."""

    unsent: int
    reasons: list[str] = field(default_factory=list)

    @property
    def is_stuck(self) -> bool:
        return self.unsent % 2 == 0

    def disconnect(self, reason: str) -> None:
        self.reasons.append(reason)


@pytest.mark.parametrize(
    ("sizes", "closed"),
    [
        ([], []),
        ([40, 0, 60], []),
        ([10, 50, 42], [50]),
        ([60, 30, 70, 4], [70]),
        ([60, 60, 60], [60, 60]),
        ([50, 61, 44], [50, 44]),
        ([99, 99, 20], [20]),
    ],
)
def test_the_largest_unread_responses_are_given_up(sizes: list[int], closed: list[int]) -> None:
    connections = [Connected(size) for size in sizes]
    _limit_unsent(cast(Any, connections), 100)
    assert [each.unsent for each in connections if each.reasons] == closed
    assert all(each.reasons in ([], ["unread"]) for each in connections)


class Broken:
    """A connection whose checks fail."""

    def __init__(self) -> None:
        self.transport = self
        self.aborted = False

    def expire(self, now: float) -> None:
        raise ValueError(now)

    @property
    def unsent(self) -> int:
        raise ValueError("unsent")

    def abort(self) -> None:
        self.aborted = True


def test_a_connection_that_cannot_be_checked_leaves_the_others_their_time_limits() -> None:
    broken, checked = [Broken(), Broken()], []

    class Checked:
        unsent = 0

        def expire(self, now: float) -> None:
            checked.append(now)

    async def go() -> None:
        server = Server(
            Config(unused_application),
            Settings(),
            SharedCounts(None, 1, 0),
            lambda _: None,
            lambda _: (),
            routes.is_probe,
        )
        server.server_state.connections = cast(Any, {*broken, Checked()})
        watcher = asyncio.create_task(server._watch())
        await asyncio.sleep(0)
        assert not watcher.done()
        watcher.cancel()

    asyncio.run(go())
    assert len(checked) == 1
    assert all(each.aborted for each in broken)


def test_before_the_companion_stops_the_worker_is_not_ready_and_connections_close() -> None:
    """The calls of the companion may last long; HTTP clients are not to send more requests meanwhile."""
    events: list[str] = []

    class Companion:
        async def start(self, host: str, config: Config) -> None: ...

        async def stop(self) -> None:
            events.append("companion")

    class Idle:
        def shutdown(self) -> None:
            events.append("connection")
            server.server_state.connections.clear()

    config = Config(unused_application, lifespan="off", log_config=None)
    config.load()
    counts, common = SharedCounts(None, 1, 0), (lambda _: None, lambda _: (), routes.is_probe)
    server = Server(config, Settings(), counts, *common, companion=Companion(), stopping=lambda: events.append("state"))
    server.servers, server.lifespan = [], config.lifespan_class(config)
    server.server_state.connections = cast(Any, {Idle()})
    asyncio.run(server.shutdown())
    assert events == ["state", "connection", "companion"]


def test_the_application_is_called_without_uvicorns_proxy_headers() -> None:
    """They would be read for each request, and the application uses neither the client's address nor the scheme."""

    config = Config(unused_application, log_config=None)
    Server(config, Settings(), SharedCounts(None, 1, 0), lambda _: None, lambda _: (), routes.is_probe)
    config.load()
    assert config.loaded_app is unused_application
