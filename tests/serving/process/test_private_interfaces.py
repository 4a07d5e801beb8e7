"""Interfaces of BentoML, uvicorn and prometheus-client that `serving` uses although they are not documented.

Each test fails when one of them disappears or changes, and says what to do.
"""

import ast
import inspect
import tomllib
from pathlib import Path

import _bentoml_impl.worker.service
import bentoml
import pytest
import uvicorn
from _bentoml_impl.server import serving as bentoml_server
from bentoml._internal import log as bentoml_log
from bentoml._internal import server as bentoml_static
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils import circus
from bentoml._internal.utils.analytics import usage_stats
from bentoml.serving import ensure_prometheus_dir
from circus.sockets import CircusSocket
from circus.watcher import Watcher
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.values import MultiProcessValue
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.connections import server
from serving.connections.protocol import Connection
from serving.process import supervision
from tests.serving.conftest import ROOT

# What is imported from private modules; every name has a test below.
TESTED = {
    "bentoml._internal.log",
    "bentoml._internal.configuration.containers.BentoMLContainer",
    "bentoml._internal.server",
    "bentoml._internal.utils.analytics.usage_stats",
    "bentoml._internal.utils.circus",
}


def source(function: object) -> str:
    return inspect.getsource(inspect.unwrap(getattr(function, "callback", function)))  # type: ignore[arg-type]


def test_every_private_module_that_is_imported_has_a_test() -> None:
    imported = set()
    for file in (ROOT / "serving").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and "._" in f".{node.module}":
                imported |= {f"{node.module}.{each.name}" for each in node.names}
    assert imported == TESTED, "add a test of the new private interface here, or remove that of the old one"


def test_the_versions_without_these_interfaces_are_excluded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    specifiers = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}
    for name, next_version in (("bentoml", "1.5.0"), ("uvicorn", "0.55.0")):
        advice = f"run this file's tests with {name} {next_version} before its bound in pyproject.toml is raised"
        assert not specifiers[name].contains(next_version), advice


def test_bentoml_takes_the_interval_of_its_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    advice = (
        "supervision.extend_supervisor: BentoML no longer looks up circus.create_standalone_arbiter, or passes its "
        "check_delay on; find where it makes its circus Arbiter, or accept that a killed worker is replaced after 10 s"
    )
    assert "utils.circus import create_standalone_arbiter" in source(bentoml_server.serve_http), advice
    monkeypatch.setattr(circus, "Arbiter", lambda _watchers, **options: options)
    create = getattr(circus.create_standalone_arbiter, "args", (circus.create_standalone_arbiter,))[0]
    assert create([], check_delay=2)["check_delay"] == 2, advice


def test_bentoml_takes_a_number_of_workers_after_its_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    advice = (
        "supervision.set_workers: BentoML no longer makes the supervisor after `on_deployment`, from watchers whose "
        "numprocesses can be set; find where it starts its workers, or a GPU has one worker per core"
    )
    text = source(bentoml_server.serve_http)
    assert text.index("server_on_deployment(svc)") < text.index("create_watcher(\n"), advice
    assert text.index("create_watcher(\n") < text.index("create_standalone_arbiter(**"), advice
    assert '"watchers": watchers' in text, advice
    assert "copy_env=True" in source(bentoml.serving.create_watcher), advice
    monkeypatch.setenv("TANDEM_WORKERS", "3")
    watcher = Watcher("name", "command")
    supervision._supervisor(lambda _watchers, **_: None, [watcher])
    assert watcher.numprocesses == 3, advice


@pytest.mark.parametrize(("workers", "replaced"), [("1", False), ("2", True)])
def test_bentoml_takes_whether_a_dead_worker_is_replaced(
    monkeypatch: pytest.MonkeyPatch, workers: str, replaced: bool
) -> None:
    advice = (
        "supervision._supervisor: BentoML's watchers have no `respawn` that can be set; find how a container decides "
        "whether a dead worker is replaced, or state in docs/serving.md that several workers are not replaced there"
    )
    monkeypatch.setenv("BENTOML_CONTAINERIZED", "true")
    monkeypatch.setenv("TANDEM_WORKERS", workers)
    bentoml.serving.running_inside_container.cache_clear()
    try:
        watcher = bentoml.serving.create_watcher("name", [])
    finally:
        bentoml.serving.running_inside_container.cache_clear()
    assert not watcher.respawn, advice
    supervision._supervisor(lambda _watchers, **_: None, [watcher])
    assert watcher.respawn == replaced, advice


def test_bentoml_passes_its_sockets_to_its_supervisor() -> None:
    advice = (
        "supervision._require_own_grpc_port: BentoML's supervisor is not made with `sockets` that have a port; find "
        "where the port of HTTP is known before the workers start, or TANDEM_GRPC_PORT may name it"
    )
    assert '"sockets": sockets' in source(bentoml_server.serve_http), advice
    assert CircusSocket(name="name", host="127.0.0.1", port=3000).port == 3000, advice


def test_bentoml_takes_a_folder_for_the_metrics(tmp_path: Path) -> None:
    advice = (
        "supervision.use_own_metrics_folder: BentoML no longer reads BentoMLContainer.prometheus_multiproc_dir; find "
        "where it sets PROMETHEUS_MULTIPROC_DIR for its workers, or the services of a user share their metrics"
    )
    BentoMLContainer.prometheus_multiproc_dir.set(str(tmp_path))
    try:
        assert ensure_prometheus_dir() == str(tmp_path), advice
    finally:
        BentoMLContainer.prometheus_multiproc_dir.reset()
    assert '"PROMETHEUS_MULTIPROC_DIR": ensure_prometheus_dir()' in source(bentoml_server.serve_http), advice


def test_bentoml_configures_its_log_with_one_formatter() -> None:
    advice = "json_log.start: BentoML's log has other handlers or formatters; replace the formatter of each"
    configuration = bentoml_log.SERVER_LOGGING_CONFIG
    handlers = {handler for logger in configuration["loggers"].values() for handler in logger["handlers"]}
    handlers |= set(configuration["root"]["handlers"])
    assert {configuration["handlers"][handler]["formatter"] for handler in handlers} == {"traced"}, advice
    assert set(configuration["formatters"]) == {"traced"}, advice
    assert "dictConfig(SERVER_LOGGING_CONFIG)" in source(bentoml_log.configure_server_logging), advice


def test_bentoml_caches_whether_it_may_report() -> None:
    advice = (
        "telemetry.disable: usage_stats.do_not_track is no longer cached, or its variable has another name; set the "
        "variable that BentoML reads, and check with test_telemetry.py that nothing is sent"
    )
    assert usage_stats.BENTOML_DO_NOT_TRACK == "BENTOML_DO_NOT_TRACK", advice
    assert callable(getattr(usage_stats.do_not_track, "cache_clear", None)), advice


@pytest.mark.parametrize("file", ["swagger-ui.css", "swagger-ui-bundle.js"])
def test_bentoml_contains_swagger_ui(file: str) -> None:
    advice = "static_files.SWAGGER: BentoML no longer contains Swagger UI; add its files to serving/web"
    assert (Path(bentoml_static.__file__).parent / "static_content" / file).is_file(), advice


def test_bentoml_makes_the_server_of_its_worker_from_uvicorn() -> None:
    advice = (
        "connections.server.install: BentoML's worker no longer calls uvicorn.Server(config).run(sockets=[...]) after "
        "to_asgi; find how it starts its HTTP server, and let it use connections.server.Server"
    )
    text = source(_bentoml_impl.worker.service.main)
    assert "import uvicorn\n" in text, advice
    assert "uvicorn.Server(config).run(sockets=[" in text, advice
    assert text.index("service.to_asgi(") < text.index("uvicorn.Server(config)"), advice


def test_bentoml_numbers_its_workers_from_1() -> None:
    advice = (
        "TandemService.to_asgi, Tandem.__init__: server_context.worker_index is no longer the number of the worker; "
        "the counts of connections and the prediction log need another number from 1 per worker"
    )
    text = source(_bentoml_impl.worker.service.main)
    assert "server_context.worker_index = worker_id" in text, advice
    earlier = (
        "supervision.use_own_metrics_folder: a worker has no number while it imports the service; find another mark"
    )
    assert text.index("server_context.worker_index = worker_id") < text.index("load(bento_identifier"), earlier
    assert bentoml.server_context.worker_index is None, earlier
    assert '"$(CIRCUS.WID)"' in source(bentoml_server.serve_http), advice


def test_bentoml_takes_another_class_of_service() -> None:
    advice = (
        "TandemService: bentoml.service has no service_class with to_asgi; find how to replace the ASGI application"
    )
    assert "service_class(" in inspect.getsource(inspect.getmodule(bentoml.Service)), advice  # type: ignore[arg-type]
    assert list(inspect.signature(bentoml.Service.to_asgi).parameters) == ["self", "is_main"], advice
    assert callable(bentoml.get_current_service), advice


def test_bentoml_takes_the_host_of_a_service() -> None:
    advice = "service.py: BentoML no longer applies http.host of the service; it would listen on all interfaces"
    assert "BentoMLContainer.http.host" in source(bentoml_server.serve_http), advice
    assert '"http",' in inspect.getsource(bentoml.Service.inject_config), advice


def test_uvicorn_starts_and_stops_with_sockets() -> None:
    advice = "connections.server.Server: uvicorn.Server has other methods; adapt startup and shutdown to them"
    for method in (uvicorn.Server.startup, uvicorn.Server.shutdown):
        assert list(inspect.signature(method).parameters) == ["self", "sockets"], advice
    assert {"server_state", "should_exit", "config"} <= set(vars(uvicorn.Server(uvicorn.Config("")))), advice
    assert "if sockets is not None:" in source(uvicorn.Server.startup), advice
    assert "connection.shutdown()" in source(uvicorn.Server.shutdown), advice


def test_uvicorn_has_the_methods_of_its_protocol_that_are_extended() -> None:
    advice = "connections.protocol.Connection: uvicorn no longer calls {}; find where its limit can be checked instead"
    own = {"disconnect", "expire", "unsent"}
    for name in {name for name in vars(Connection) if not name.startswith("_")} - own:
        assert callable(getattr(HttpToolsProtocol, name, None)), advice.format(name)
    assert "self.send_400_response(" in source(HttpToolsProtocol.data_received), advice.format("send_400_response")
    assert "self._unsupported_upgrade_warning(" in source(HttpToolsProtocol.data_received), advice.format(
        "_unsupported_upgrade_warning"
    )


@pytest.mark.parametrize(
    "name",
    [
        "access_logger", "app", "connections", "cycle", "expect_100_continue", "flow", "headers", "logger", "loop",
        "parser", "pipeline", "scheme", "scope", "server_state", "timeout_keep_alive", "transport",
    ],
)  # fmt: skip
def test_uvicorn_has_the_attributes_of_its_protocol_that_are_read(name: str) -> None:
    advice = f"connections.protocol.Connection: uvicorn's protocol has no {name}; find what replaces it"
    config = uvicorn.Config(lambda: None, log_config=None)
    assert name in vars(HttpToolsProtocol(config, ServerState(), {}, _loop=object())), advice  # type: ignore[arg-type]


def test_uvicorn_begins_a_request_as_connections_do() -> None:
    advice = "connections.protocol.Connection._begin: uvicorn begins a request in another way; compare both methods"
    text = source(HttpToolsProtocol.on_headers_complete)
    for line in (
        'self.scope["raw_path"] = full_raw_path',
        'self.scope["query_string"] = parsed_url.query or b""',
        'keep_alive=http_version != "1.0" and self.parser.should_keep_alive(),',
        "on_response=self.on_response_complete,",
        "self._start_asgi_task(self.cycle, app)",
        "self.flow.pause_reading()",
        "self.pipeline.appendleft((self.cycle, app))",
    ):
        assert line in text, advice
    assert "self._start_asgi_task(cycle, app)" in source(HttpToolsProtocol.on_response_complete), advice


@pytest.mark.parametrize(
    "name",
    [
        "chunked_encoding", "default_headers", "disconnected", "expected_content_length", "flow", "keep_alive",
        "more_body", "response_complete", "response_started", "transport", "waiting_for_100_continue",
    ],
)  # fmt: skip
def test_uvicorn_has_the_attributes_of_a_request_that_are_used(name: str) -> None:
    advice = f"connections.protocol.Connection: uvicorn's RequestResponseCycle has no {name}; find what replaces it"
    assert f"self.{name} = " in inspect.getsource(httptools_impl.RequestResponseCycle), advice


@pytest.mark.parametrize("message", server.SILENT)
def test_uvicorn_has_the_messages_that_are_not_logged(message: str) -> None:
    advice = "connections.server.SILENT: uvicorn has other words for what it cannot parse; clients can fill the log"
    assert message in inspect.getsource(httptools_impl), advice


def test_prometheus_client_has_the_counters_inside_a_histogram() -> None:
    advice = "metrics.BufferedHistogram: prometheus-client changed its Histogram; observe the values one by one"
    histogram = Histogram("name", "about", buckets=(1, 2), registry=CollectorRegistry())
    histogram._sum.inc(1.5)
    histogram._buckets[1].inc(1)
    found = {sample.name + sample.labels.get("le", ""): sample.value for sample in histogram.collect()[0].samples}
    assert (found["name_sum"], found["name_bucket1.0"], found["name_bucket2.0"]) == (1.5, 0.0, 1.0), advice


def test_prometheus_client_names_the_values_of_several_processes() -> None:
    advice = "metrics.Metrics.collect: prometheus-client renamed its values in files; the metrics would be one worker's"
    assert MultiProcessValue().__name__ == "MmapedValue", advice


def test_prometheus_client_has_the_children_of_a_counter() -> None:
    advice = (
        "model_statistics.ModelStatistics: prometheus-client has other names for the children of a Counter and their "
        "values; find how to set one to 0 before it is removed, or versions stay in the files of all workers"
    )
    counter = Counter("name", "about", ("label",), registry=CollectorRegistry())
    counter.labels("one").inc(2)
    ((labels, child),) = counter._metrics.items()
    child._value.set(0)  # type: ignore[attr-defined]
    assert (labels, counter.labels("one")._value.get()) == (("one",), 0.0), advice  # type: ignore[attr-defined]
