"""Traces by OpenTelemetry, exported with OTLP over HTTP; off unless the standard variables OTEL_* switch them on.

A request is a span, its wait in the queue and the runs of the model are spans within it. The SDK reads all other
variables itself: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import asyncio
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from importlib.util import find_spec

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from models.errors import InputError
from serving.inference.champion import Champion
from serving.scheduling.batcher import Result

EXPORTER = "opentelemetry.exporter.otlp.proto.http"
FLUSH_SECONDS = 5.0  # for the last spans when the worker ends
PROPAGATOR = TraceContextTextMapPropagator()  # the SDK's default also reads `baggage`, in quadratic time
MAX_TRACE_HEADER = 512  # bytes, as much of `tracestate` as must be propagated (W3C Trace Context, section 3.3.1.5)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE")
Attributes = dict[str, str | int]


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether traces are exported: OTEL_TRACES_EXPORTER is `otlp`, or an OTLP endpoint is given.

    Raises InputError for another exporter or protocol, or if the exporter's package is missing.
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if not exporter and not any(environment.get(name) for name in endpoints):
        return False
    if exporter not in ("", "otlp"):
        raise InputError(f"OTEL_TRACES_EXPORTER: {exporter!r}; allowed: otlp, none")
    _require_http(environment)
    return True


def _require_http(environment: Mapping[str, str]) -> None:
    """Raise InputError unless the protocol is OTLP over HTTP and its exporter is installed."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name):
            if environment[name] != "http/protobuf":
                raise InputError(f"{name}: {environment[name]!r}; allowed: http/protobuf")
            break
    try:
        found = find_spec(EXPORTER)
    except ModuleNotFoundError:  # of a parent package
        found = None
    if not found:
        raise InputError("OTEL_*: traces need the extra `tracing`; use `uv run --extra tracing`")


class Trace:
    """The span of one request, and the spans within it; `started` is a `time.perf_counter` in seconds."""

    def __init__(self, tracer: Tracer, method: str, path: str, headers: Mapping[str, str], started: float) -> None:
        self._tracer = tracer
        self._method = method if method in METHODS else "_OTHER"
        self._epoch = time.time_ns() - round(time.perf_counter() * 1e9)
        attributes: Attributes = {"http.request.method": self._method, "url.path": path}
        self._span: Span = tracer.start_span(
            self._method, _parent(headers), SpanKind.SERVER, attributes, start_time=self._nanoseconds(started)
        )

    @property
    def trace_id(self) -> str:
        """The id of the trace, the client's if it has sent one: 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def add_inference(self, champion: Champion, result: Result) -> None:
        """Add the wait in the queue and the runs of the model."""
        if not self._span.is_recording():
            return
        attributes: Attributes = {"tandem.model.name": champion.name, "tandem.model.version": champion.version}
        self._add("queue", result.queued, result.started, attributes)
        self._add("inference", result.started, result.ended, attributes | {"tandem.examples": len(result.outputs)})

    def end(self, route: str, status: int, request_id: str) -> None:
        """End the span of the request; `route` is its path with placeholders, or empty for an unknown path."""
        if route:
            self._span.update_name(f"{self._method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attributes({"http.response.status_code": status, "tandem.request_id": request_id})
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._nanoseconds(time.perf_counter()))

    def _add(self, name: str, started: float, ended: float, attributes: Attributes) -> None:
        parent = set_span_in_context(self._span)
        start, end = self._nanoseconds(started), self._nanoseconds(ended)
        self._tracer.start_span(name, parent, attributes=attributes, start_time=start).end(end)

    def _nanoseconds(self, seconds: float) -> int:
        """A `time.perf_counter` in seconds as nanoseconds since the epoch."""
        return self._epoch + round(seconds * 1e9)


def _parent(headers: Mapping[str, str]) -> Context:
    """The client's span, if the headers name one."""
    given = {name: headers.get(name, "") for name in PROPAGATOR.fields}
    return PROPAGATOR.extract({name: value for name, value in given.items() if 0 < len(value) <= MAX_TRACE_HEADER})


class Tracing:
    """Makes the traces of one worker and exports them from a thread of its own."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)  # it warns of headers that clients send
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("serving")

    def begin(self, method: str, path: str, headers: Mapping[str, str], started: float) -> Trace:
        """The trace of a request, within that of the client if its headers name one (W3C Trace Context)."""
        return Trace(self._tracer, method, path, headers, started)

    async def close(self) -> None:
        """Export what remains, for FLUSH_SECONDS at most: a collector that is down does not delay the end."""
        thread = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, FLUSH_SECONDS)


def from_environment() -> Tracing | None:
    """The traces that the variables OTEL_* ask for, if any. Raises InputError for values that are not allowed."""
    try:
        return Tracing() if is_enabled() else None
    except ValueError as error:  # such as a batch that is larger than the queue
        raise InputError(f"OTEL_*: {error}") from None


def _resource() -> Resource:
    """The service as its spans name it: `tandem`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES differ."""
    own = Resource({"service.name": "tandem", "service.instance.id": str(uuid.uuid4())})
    return Resource.create(dict(own.merge(OTELResourceDetector().detect()).attributes))
