"""Log lines as JSON: every line of every process, with the ids of the request it belongs to."""

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from serving.process.json_log import JsonFormatter
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.collector import Collector, attributes
from tests.serving.conftest import ROOT, Local, environment, running, wait_for
from tests.serving.connections.test_address import WARNING, addresses

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"x-request-id": "mine", "traceparent": f"00-{TRACE}-{SPAN}-01"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PROGRAM = """
import os, subprocess, sys, threading, warnings
from serving.process import json_log
json_log.start()
json_log.relay_stderr()
print("printed", file=sys.stderr)
subprocess.run(["sh", "-c", "echo of a child >&2"], check=True)
warnings.warn("about something", UserWarning)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("two\\nlines \\ud800")
"""


def parse(output: str) -> list[dict[str, Any]]:
    """The lines; each must be an object with what every line has."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        assert TIME.fullmatch(line["time"])
        assert line["level"] in ("INFO", "WARNING", "ERROR", "CRITICAL")
        assert all(isinstance(line[key], str) and line[key] for key in ("logger", "message"))
    return lines


def test_every_line_of_the_service_is_json(tmp_path: Path, collector: Collector) -> None:
    """From the start to the end, in both streams: start-up, access log, a rejected champion, shutdown.

    No host is given, and traces are exported: the last when the service ends.
    """
    champion = write(tmp_path / "champion", weights(DIGITS))
    changes = {"TANDEM_CHAMPION": str(champion), "TANDEM_WORKERS": "1", "TANDEM_POLL_SECONDS": "0.1"}
    changes |= {"TANDEM_LOG_FORMAT": "json", "TANDEM_LOG_SHARE": "1"}
    changes |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    with running("serving.service:Tandem", ROOT, tmp_path / "home", given=False, **changes) as served:
        assert addresses(served) == {"127.0.0.1"}
        body = {"inputs": raw(DIGITS, 1).tolist()}
        assert httpx.post(f"{served.url}/predict", json=body, headers=HEADERS).status_code == 200
        (champion / "champion.json").write_text("broken", "utf-8")
        wait_for(lambda: "rejected new champion" in served.output.read_text())
    lines = parse(served.output.read_text())
    messages = [line["message"] for line in lines]
    for start in ("Starting production", "Completed async startup hook", "rejected new champion", "Running cleanup"):
        assert any(message.startswith(start) for message in messages), start
    (prediction,) = [line for line in lines if line["message"] == "POST predict 200"]
    assert (prediction["request_id"], prediction["trace_id"]) == ("mine", TRACE)
    assert (prediction["logger"], prediction["endpoint"], prediction["status"]) == ("tandem.access", "predict", 200)
    assert WARNING not in served.output.read_text()
    (request,) = [span for span in collector.spans if (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)]
    assert request.kind == Span.SPAN_KIND_SERVER
    children = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert [span.name for span in children] == ["queue", "inference"]
    assert {span.trace_id for span in children} == {request.trace_id}
    resource = attributes(collector.requests[0].resource_spans[0].resource)
    assert (resource["service.name"], resource["deployment.environment"]) == ("tandem", "test")


def test_standard_error_and_uncaught_exceptions_are_json(tmp_path: Path) -> None:
    variables = environment(tmp_path, PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    lines = parse(done.stdout)
    by_logger = {line["logger"]: line for line in lines}
    assert {line["message"] for line in lines if line["logger"] == "stderr"} == {"printed", "of a child"}
    assert "about something" in by_logger["py.warnings"]["message"]
    thread, main = [line for line in lines if line["level"] == "CRITICAL"]
    assert thread["message"] == "uncaught exception: division by zero"
    assert main["message"] == "uncaught exception: two\nlines \ud800"
    assert main["exception"].startswith("Traceback")


@pytest.mark.parametrize("changes", [{"TANDEM_WORKERS": "x"}, {"TANDEM_DEVICE": "cpu"}])
def test_an_error_at_start_is_one_line(tmp_path: Path, changes: dict[str, str]) -> None:
    variables = environment(tmp_path, TANDEM_CHAMPION=str(tmp_path), TANDEM_LOG_FORMAT="json", **changes)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Tandem", "--port", "1"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = parse(done.stdout)
    assert line["level"] == "ERROR"
    assert "TANDEM_WORKERS: 'x'" in line["message"] or "no champion yet" in line["message"]


def test_lines_logged_during_a_request_have_its_ids(digits: Path, local: Callable[..., Local]) -> None:
    service = local(digits, log_format="json")
    service.worker.batcher.predict = None  # type: ignore[method-assign,assignment]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("bentoml.tandem")
    log.addHandler(handler)
    try:
        body = {"inputs": raw(DIGITS, 1).tolist()}
        assert service.post("/predict", json=body, headers=HEADERS).status_code == 500
        log.warning("between requests")
    finally:
        log.removeHandler(handler)
    failed, between = parse(stream.getvalue())
    assert (failed["request_id"], failed["trace_id"]) == ("mine", TRACE)
    assert "TypeError" in failed["exception"]
    assert "request_id" not in between
