"""Traces: exported to a collector over OTLP/HTTP, within the client's trace, and off by default."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from models.errors import InputError
from serving.monitoring import tracing
from serving.monitoring.request_context import client_trace_id
from tests.serving.bundles import DIGITS, raw
from tests.serving.collector import Collector, attributes
from tests.serving.conftest import ROOT, Local, environment

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
BODY = {"inputs": raw(DIGITS, 2).tolist()}


@pytest.fixture
def traced(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, digits: Path, local: Callable[..., Local]
) -> Callable[..., Local]:
    """An application in this process that exports to the collector; `close` of its traces exports all of them."""

    def make(**changes: Any) -> Local:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        return local(digits, **changes)

    return make


def close(service: Local) -> None:
    assert service.worker.tracing
    service.worker.tracing._provider.shutdown()


def test_the_spans_follow_each_other_and_agree_with_the_response(
    collector: Collector, traced: Callable[..., Local], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system's clock is set back meanwhile."""
    service = traced()
    monkeypatch.setattr("opentelemetry.sdk.trace.time_ns", lambda: 0)
    response = service.post("/predict", json=BODY)
    close(service)
    queue, inference, request = sorted(collector.spans, key=lambda span: span.end_time_unix_nano)
    assert [span.name for span in (queue, inference, request)] == ["queue", "inference", "POST /predict"]
    times = [request.start_time_unix_nano, queue.start_time_unix_nano, queue.end_time_unix_nano]
    times += [inference.start_time_unix_nano, inference.end_time_unix_nano, request.end_time_unix_nano]
    assert times == sorted(times)
    timing = {part.split(";")[0]: float(part.split("=")[1]) for part in response.headers["server-timing"].split(", ")}
    milliseconds = [(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 for span in (queue, inference)]
    np.testing.assert_allclose(milliseconds, [timing["queue"], timing["run"]], atol=0.002)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.path": "/predict",
        "tandem.request_id": response.headers["x-request-id"],
    }
    assert attributes(inference)["tandem.examples"] == 2
    assert attributes(inference)["tandem.model.version"] == "1"


def test_long_headers_of_traces_are_ignored(
    collector: Collector, traced: Callable[..., Local], caplog: pytest.LogCaptureFixture
) -> None:
    """They would be parsed for milliseconds, and each of them would write kilobytes to the log."""
    service = traced()
    states = ["a=1", "a=" + "," * 7000, "?" * 500]
    for state in states:
        headers = TRACEPARENT | {"tracestate": state, "baggage": "a=1" + " " * 7000 + "?"}
        assert service.post("/predict", json=BODY, headers=headers).status_code == 200
    close(service)
    requests = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in requests} == {(TRACE, PARENT)}
    assert [span.trace_state for span in requests] == ["a=1", "", ""]
    assert not caplog.records


@pytest.mark.parametrize("later", [f"01-{TRACE}-{PARENT}-01", f"01-{TRACE}-{PARENT}-01-more"])
def test_a_traceparent_of_a_later_version_has_its_trace(later: str) -> None:
    assert client_trace_id(later.encode()) == TRACE


@pytest.mark.parametrize(
    "invalid",
    [f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}",
     f"00-{TRACE}-{PARENT}-01-more", f"01-{TRACE}-{PARENT}-01more"],
)  # fmt: skip
def test_an_invalid_traceparent_has_no_trace(invalid: str) -> None:
    assert client_trace_id(TRACEPARENT["traceparent"].encode()) == TRACE
    assert client_trace_id(invalid.encode()) == ""


def test_errors_and_paths_of_models(collector: Collector, traced: Callable[..., Local]) -> None:
    """Only a server error is one of the span; no path that a client makes up becomes a name."""
    service = traced()
    service.get("/nothing/1")
    service.get("/v2/models/other/versions/7/config")
    service.worker.ready = False
    service.get("/v2/models/tandem/versions/1/infer")
    service.worker.batcher.predict = None  # type: ignore[method-assign,assignment]
    assert service.post("/predict", json=BODY).status_code == 500
    close(service)
    found = {span.name: (attributes(span)["http.response.status_code"], span.status.code) for span in collector.spans}
    assert found == {
        "GET": (404, Status.STATUS_CODE_UNSET),
        "GET /v2/models/{name}/versions/{version}/config": (404, Status.STATUS_CODE_UNSET),
        "GET /v2/models/{name}/versions/{version}/infer": (405, Status.STATUS_CODE_UNSET),
        "POST /predict": (500, Status.STATUS_CODE_ERROR),
    }


def test_health_checks_and_what_the_client_does_not_sample_are_not_exported(
    collector: Collector, traced: Callable[..., Local]
) -> None:
    service = traced()
    for path in ("/livez", "/readyz", "/v2/models/tandem/ready", "/"):
        assert service.get(path).status_code == 200
    unsampled = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    assert service.post("/predict", json=BODY, headers=unsampled).status_code == 200
    close(service)
    assert collector.spans == []


def test_a_collector_that_is_down_costs_no_request(
    monkeypatch: pytest.MonkeyPatch, digits: Path, local: Callable[..., Local]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    service = local(digits)
    assert [service.post("/predict", json=BODY).status_code for _ in range(3)] == [200] * 3
    close(service)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
)
def test_the_standard_variables_switch_it_on(variables: dict[str, str], expected: bool) -> None:
    assert tracing.is_enabled(variables) is expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: 'zipkin'; allowed: otlp, none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc'; allowed: http/protobuf",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "2"}, "OTEL_*: max_export_batch_size"),
    ],
)
def test_what_is_not_supported_is_an_error(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message.replace("*", r"\*")):
        tracing.from_environment()


def test_a_missing_exporter_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "EXPORTER", "opentelemetry.exporter.none.proto")
    with pytest.raises(InputError, match="--extra tracing"):
        tracing.is_enabled({"OTEL_TRACES_EXPORTER": "otlp"})


def test_the_exporter_is_imported_only_where_it_is_used(digits: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from serving.settings import Settings
from serving.worker import Worker
assert Worker(Settings(champion=Path({str(digits)!r}))).tracing is None
print([name for name in sys.modules if name.startswith("opentelemetry.exporter")])
"""
    variables = environment(tmp_path, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
