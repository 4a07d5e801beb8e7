"""The ASGI application: limits, authentication, request ids and timing around the endpoint of every request.

It answers in place of BentoML's own application, whose tracing and per-request metrics cost more than the model.
Unknown paths share one name, so that no path becomes a metric's label.
"""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable

import orjson

from serving import routes
from serving.api.route import Route
from serving.errors import RequestError, overloaded
from serving.http.access_log import Log
from serving.http.authentication import given_key
from serving.http.messages import REQUEST_ID, ASGIApp, Headers, Receive, Request, Response, Scope, Send
from serving.monitoring.request_context import CURRENT, RequestContext, client_trace_id
from serving.settings import Settings
from serving.worker import Worker

log = logging.getLogger("bentoml.tandem")
CANCELLED = 499  # of a call that its client ended, by gRPC; the status of nginx for a closed connection
MIN_IN_FLIGHT = 8  # complete requests that a worker accepts at any speed, so that a slow model is used at all
Find = Callable[[str, str], Route]
HEADERS: Headers = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Application:
    """The ASGI application: `inner` is BentoML's own, `worker` returns the started worker.

    `find` returns the route of a method and a path, or raises RequestError.
    """

    def __init__(
        self, inner: ASGIApp, settings: Settings, worker: Callable[[], Worker], find: Find = routes.find
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._find_worker = worker
        self._find = find
        self._worker: Worker | None = None
        self._has_context = False
        self._log = Log(settings.log_share, settings.log_format == "json")
        prefix = os.urandom(6).hex().encode()
        self._ids = (b"%b-%x" % (prefix, number) for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        if self._worker is None:
            self._worker = self._find_worker()
            self._has_context = bool(self._worker.tracing) or self._settings.log_format == "json"
        started = time.perf_counter()
        request = Request(scope, receive, self._settings.max_body_bytes)
        given_id = request.header(b"x-request-id")
        request_id = given_id if given_id and REQUEST_ID.fullmatch(given_id) else next(self._ids)
        context = self._begin(self._worker, request, request_id, started) if self._has_context else None
        is_cancelled = False
        try:
            name, response = await self._respond(self._worker, request)
            await response.send(send, ((b"x-request-id", request_id), *HEADERS), request)
        except TimeoutError:  # of a large response; the server closes the connection
            self._worker.metrics.count_rejection("unread")
        except asyncio.CancelledError:
            route, is_cancelled = self._route(request), True
            name, response = route.name if route else "unknown", Response(b"", CANCELLED)
        finally:
            request.release_response()
        self._worker.metrics.record_request(name, response.status, time.perf_counter() - started)
        self._log.write(request, name, response, request_id, started, context)
        if context and context.trace:
            pattern = routes.pattern(request.path) or (request.path if name != "unknown" else "")
            context.trace.end(pattern, response.status, request_id.decode())
        if is_cancelled:
            raise asyncio.CancelledError  # a new one: a variable with the caught one would keep this frame in memory
        if request.observed:
            self._worker.observe(request_id, request.observed)

    def _begin(self, worker: Worker, request: Request, request_id: bytes, started: float) -> RequestContext:
        """Set the context of a request, where log lines or traces need it.

        Health checks, metrics and pages have no trace.
        """
        route, trace = self._route(request) if worker.tracing else None, None
        if worker.tracing and not (route and route.probe):
            trace = worker.tracing.begin(request.method, request.path, request.text_headers, started)
        trace_id = trace.trace_id if trace else client_trace_id(request.header(b"traceparent"))
        context = RequestContext(request_id.decode(), trace_id, trace)
        CURRENT.set(context)
        return context

    def _route(self, request: Request) -> Route | None:
        try:
            return self._find(request.method, request.path)
        except RequestError:
            return None

    async def _respond(self, worker: Worker, request: Request) -> tuple[str, Response]:
        """The name of the route and its response, or an error as a response. Raises CancelledError alone."""
        name = "unknown"
        try:
            request.check_size()
            route = self._find(request.method, request.path)
            name = route.name
            if not route.probe:
                self._check_load(worker)  # before the key, whose quota counts what is answered
            if worker.api_keys.required and not route.public:
                request.key_name = worker.api_keys.admit(given_key(request))
            request.load, request.memory_budget, request.deadlines = worker.load, worker.memory_budget, worker.deadlines
            return name, await worker.deadlines.within(route.handler(worker, request))
        except TimeoutError as error:
            return name, _rejection(worker, _timeout(request, error))
        except RequestError as error:
            return name, _rejection(worker, error)
        except Exception:  # an unforeseen error: details are for the log alone
            log.exception("request failed: %s", name)
            return name, _error("the service failed; the log has the reason", 500)
        finally:
            request.close()

    def _check_load(self, worker: Worker) -> None:
        """Raise RequestError (503) if the worker has too many requests, or their expected wait is too long."""
        load = worker.load
        too_long = load.in_flight >= MIN_IN_FLIGHT and load.expected_wait() > self._settings.max_wait_seconds
        if len(worker.deadlines) >= self._settings.max_waiting or too_long:
            raise overloaded(f"{len(worker.deadlines)} requests are in progress already; try again in a second")


def _timeout(request: Request, seconds: TimeoutError) -> RequestError:
    """The error for a request that took longer than its time limit."""
    if request.unread and request.method == "POST":
        return RequestError(408, "slow_body", f"the body did not arrive within {seconds} s")
    return overloaded(f"no answer within {seconds} s; try again in a second")


def _rejection(worker: Worker, error: RequestError) -> Response:
    """A counted rejection as JSON."""
    worker.metrics.count_rejection(error.reason)
    return _error(str(error), error.status, error.headers)


def _error(message: str, status: int, headers: Headers = ()) -> Response:
    """An error as JSON. A message may quote half of a surrogate pair, which has no UTF-8."""
    readable = message.encode("utf-8", "backslashreplace").decode()
    return Response(orjson.dumps({"error": readable}), status, headers=headers)
