"""The outermost application: limits, keys, names and timing around every request, then its endpoint.

It answers before BentoML's own middleware, whose tracing and per-request metrics cost more than the
model does. What it does not know goes to BentoML only where BentoML has an answer; every other path
is a 404 here, so that no path becomes a metric's label.
"""

import hmac
import itertools
import logging
import os
import re
import time
from collections.abc import Callable

import orjson

from serving.api.route import Route
from serving.errors import RequestError, overloaded
from serving.http.access_log import Log
from serving.http.messages import REQUEST_ID, ASGIApp, Headers, Receive, Request, Response, Scope, Send
from serving.routes import BENTOML, find
from serving.settings import Settings
from serving.worker import Worker

log = logging.getLogger("bentoml.tandem")
FEW = 8  # whole requests that a worker takes however long they last, so that a slow model is used at all
BEARER = re.compile(rb"^bearer ", re.IGNORECASE)
HEADERS: Headers = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Application:
    """The ASGI application: `inner` is BentoML's own, `worker` returns the started worker."""

    def __init__(self, inner: ASGIApp, settings: Settings, worker: Callable[[], Worker]) -> None:
        self._inner = inner
        self._settings = settings
        self._find_worker = worker
        self._worker: Worker | None = None
        self._log = Log(settings.log_share)
        prefix = os.urandom(6).hex()
        self._ids = (f"{prefix}-{number:x}".encode() for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http" or scope["path"] in BENTOML:
            await self._inner(scope, receive, send)
            return
        self._worker = self._worker or self._find_worker()
        started = time.perf_counter()
        request = Request(scope, receive, self._settings.max_body_bytes)
        name, response = await self._answer(self._worker, request)
        given = request.header(b"x-request-id")
        request_id = given if REQUEST_ID.fullmatch(given) else next(self._ids)
        await response.send(send, ((b"x-request-id", request_id), *HEADERS), request)
        self._worker.metrics.answered(name, response.status, time.perf_counter() - started)
        self._log.write(request, name, response, request_id, started)
        if request.observed:
            self._worker.observe(request_id, request.observed)

    async def _answer(self, worker: Worker, request: Request) -> tuple[str, Response]:
        """The endpoint's name and its answer, or the refusal as an answer. Raises nothing."""
        name = "unknown"
        try:
            request.check_size()
            route = find(request.method, request.path)
            name = route.name
            self._admit(route, request)
            return name, await self._within_limits(worker, route, request)
        except RequestError as refusal:
            worker.metrics.rejected(refusal.reason)
            return name, _refuse(str(refusal), refusal.status, refusal.headers)
        except Exception:  # the last resort: the reader gets a sentence, the log gets the trace
            log.exception("request failed: %s", name)
            return name, _refuse("the service failed; the log has the reason", 500)

    async def _within_limits(self, worker: Worker, route: Route, request: Request) -> Response:
        """Run the endpoint. Raises RequestError where too many requests are held, or this one takes too long."""
        if not route.probe:
            self._refuse_more(worker)
        request.load, request.memory_budget = worker.load, worker.memory_budget
        try:
            return await worker.deadlines.within(route.handler(worker, request))
        except TimeoutError:
            seconds = self._settings.timeout_seconds
            if request.unread and request.method == "POST":
                raise RequestError(408, "slow_body", f"the body did not arrive within {seconds} s") from None
            raise overloaded(f"no answer within {seconds} s; try again in a second") from None
        finally:
            request.done()

    def _refuse_more(self, worker: Worker) -> None:
        """Raise RequestError where a worker that holds so many requests should take no other."""
        too_long = worker.load.in_flight >= FEW and worker.load.wait() > self._settings.max_wait_seconds
        if len(worker.deadlines) >= self._settings.max_waiting or too_long:
            raise overloaded(f"{len(worker.deadlines)} requests are in hand already; try again in a second")

    def _admit(self, route: Route, request: Request) -> None:
        """Raise RequestError (401) where a key is needed and not given."""
        key = self._settings.api_key
        if not key or route.public:
            return
        given = request.header(b"x-api-key") or BEARER.sub(b"", request.header(b"authorization"))
        if not hmac.compare_digest(given, key.encode()):
            headers = ((b"www-authenticate", b"Bearer"),)
            raise RequestError(401, "key", "a key is needed: `x-api-key` or `Authorization: Bearer`", headers)


def _refuse(message: str, status: int, headers: Headers = ()) -> Response:
    """A refusal as JSON. What a client sent may hold half a character, which UTF-8 has not."""
    readable = message.encode("utf-8", "backslashreplace").decode()
    return Response(orjson.dumps({"error": readable}), status, headers=headers)
