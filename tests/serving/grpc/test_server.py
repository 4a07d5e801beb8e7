"""The Open Inference Protocol by gRPC: the unmodified client of Triton, its stubs, and hostile clients."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import uvicorn
from grpc_health.v1 import health_pb2, health_pb2_grpc

from models.errors import InputError
from models.spec import DataSpec
from pipelines.execution.ports import free_port
from serving.grpc.server import Server
from serving.process import preflight
from serving.settings import Settings
from tests.serving.bundles import DIGITS, HOUSES, IRIS, PRICES, onnx_outputs, raw, weights, write
from tests.serving.collector import Collector
from tests.serving.conftest import PATIENCE, ROOT, environment, unused_application, wait_for
from tests.serving.grpc.conftest import LocalServer
from tests.serving.monitoring.test_tracing import attributes

triton = pytest.importorskip("tritonclient.grpc")
Make = Callable[..., LocalServer]
Code = grpc.StatusCode
KEY = "correct-horse"
INFER = "/inference.GRPCInferenceService/ModelInfer"
TYPES = {"uint8": "UINT8", "float32": "FP32"}
REJECTED: list[tuple[dict[str, Any], Any, str]] = [
    ({"model": "other"}, Code.NOT_FOUND, "no such model; there is 'tandem', version '1'"),
    ({"version": "7"}, Code.NOT_FOUND, "no such model"),
    ({"datatype": "FP32"}, Code.INVALID_ARGUMENT, "inputs[0].datatype: found 'FP32'; allowed: 'UINT8'"),
    ({"name": "pixels"}, Code.INVALID_ARGUMENT, "inputs[0].name: found 'pixels'; allowed: 'image'"),
    ({"inputs": np.zeros((1, 64), np.uint8)}, Code.INVALID_ARGUMENT, "inputs[0].shape: found [1, 64]"),
    ({"inputs": np.zeros((0, 8, 8, 1), np.uint8)}, Code.INVALID_ARGUMENT, "inputs[0].shape: found [0, 8, 8, 1]"),
    ({"inputs": np.zeros((1, 8, 8, 1), np.float32)}, Code.INVALID_ARGUMENT, "found 256 bytes; allowed for shape"),
    ({"tensors": 2}, Code.INVALID_ARGUMENT, "a list of one tensor"),
    ({"outputs": [("logits",)]}, Code.INVALID_ARGUMENT, "outputs[0].name: found 'logits'"),
    ({"outputs": [("probabilities", 2)]}, Code.INVALID_ARGUMENT, "classification is not supported"),
    ({"shared": True}, Code.INVALID_ARGUMENT, "shared memory is not supported"),
]


def tensor(inputs: np.ndarray, spec: DataSpec = DIGITS, name: str = "", datatype: str = "") -> Any:
    """An input of Triton's client."""
    given = triton.InferInput(name or spec.input_name, list(inputs.shape), datatype or TYPES[spec.dtype])
    given._raw_content = inputs.tobytes()
    return given


def typed(inputs: np.ndarray, spec: DataSpec, **changes: Any) -> Any:
    """A ModelInferRequest with typed contents."""
    request = triton.service_pb2.ModelInferRequest(**{"model_name": "tandem", "id": "mine"} | changes)
    given = request.inputs.add(name=spec.input_name, datatype=TYPES[spec.dtype], shape=inputs.shape)
    field = given.contents.uint_contents if spec.dtype == "uint8" else given.contents.fp32_contents
    field.extend(inputs.ravel().tolist())
    return request


def status_of(call: Callable[[], Any]) -> tuple[Code, str]:
    """The status of a call that is rejected, with its message."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


@pytest.fixture
def channel(digits: Path, serve_grpc: Make) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serve_grpc(digits).address) as channel:
        yield channel


@pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES, HOUSES], ids=lambda spec: spec.name)
def test_tritonclient_infers_what_onnx_runtime_does(tmp_path: Path, serve_grpc: Make, spec: DataSpec) -> None:
    server = serve_grpc(write(tmp_path, weights(spec)))
    stub = triton.service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(server.address))
    with triton.InferenceServerClient(server.address) as client:
        for count in (1, 2, 7, 200):
            inputs = raw(spec, count)
            expected = onnx_outputs(spec, inputs)
            given = triton.InferInput(spec.input_name, list(inputs.shape), TYPES[spec.dtype])
            given.set_data_from_numpy(inputs)
            output = triton.InferRequestedOutput(spec.output_name)
            result = client.infer("tandem", [given], outputs=[output], request_id="mine", model_version="1")
            np.testing.assert_allclose(result.as_numpy(spec.output_name), expected, rtol=1e-6, atol=1e-6)
            response = stub.ModelInfer(typed(inputs, spec))
            assert not response.raw_output_contents
            assert (response.id, response.model_name, response.model_version) == ("mine", "tandem", "1")
            outputs = np.float32(response.outputs[0].contents.fp32_contents).reshape(response.outputs[0].shape)
            np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("spec", [DIGITS, IRIS], ids=lambda spec: spec.name)
def test_tritonclient_reads_state_metadata_configuration_statistics_and_index(
    tmp_path: Path, serve_grpc: Make, spec: DataSpec
) -> None:
    server = serve_grpc(write(tmp_path, weights(spec)))
    inputs = raw(spec, 5)
    with triton.InferenceServerClient(server.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tandem", "1")
        assert client.get_server_metadata(as_json=True)["name"] == "tandem"
        metadata = client.get_model_metadata("tandem", "1")
        assert metadata == client.get_model_metadata("tandem")
        assert (metadata.platform, list(metadata.versions)) == ("onnxruntime_onnx", ["1"])
        assert (metadata.inputs[0].datatype, list(metadata.inputs[0].shape)) == (TYPES[spec.dtype], [-1, *spec.shape])
        assert list(metadata.outputs[0].shape) == [-1, spec.outputs]
        config = client.get_model_config("tandem", "1").config
        assert (config.max_batch_size, config.backend, list(config.input[0].dims)) == (
            4096,
            "onnxruntime",
            list(spec.shape),
        )
        assert triton.model_config_pb2.DataType.Name(config.input[0].data_type) == f"TYPE_{TYPES[spec.dtype]}"
        assert list(config.output[0].dims) == [spec.outputs]
        for _ in range(3):
            client.infer("tandem", [tensor(inputs, spec)])
        (statistics,) = client.get_inference_statistics("tandem", "1").model_stats
        assert client.get_inference_statistics().model_stats == [statistics]
        assert (statistics.inference_count, statistics.execution_count) == (15, 3)
        assert statistics.inference_stats.success.count == 3
        assert statistics.inference_stats.success.ns > 0
        (batches,) = statistics.batch_stats
        assert (batches.batch_size, batches.compute_infer.count) == (5, 3)
        assert batches.compute_infer.ns > 0
        assert abs(statistics.last_inference / 1000 - time.time()) < 60
        (model,) = client.get_model_repository_index().models
        assert (model.name, model.version, model.state) == ("tandem", "1", "READY")


def test_rejections(digits: Path, serve_grpc: Make) -> None:
    with triton.InferenceServerClient(serve_grpc(digits).address) as client:
        for change, code, message in REJECTED:
            inputs = change.get("inputs", raw(DIGITS, 1))
            given = tensor(inputs, DIGITS, change.get("name", ""), change.get("datatype", ""))
            if "shared" in change:
                given.set_shared_memory("region", inputs.nbytes)
            outputs = [triton.InferRequestedOutput(*output) for output in change.get("outputs", ())]
            tensors, version = [given] * change.get("tensors", 1), change.get("version", "")
            with pytest.raises(triton.InferenceServerException) as caught:
                client.infer(change.get("model", "tandem"), tensors, model_version=version, outputs=outputs or None)
            assert caught.value.status() == str(code)
            assert message in caught.value.message()
        assert client.infer("tandem", [tensor(raw(DIGITS, 1))])


def test_parameters_for_http_are_ignored(channel: grpc.Channel) -> None:
    request = typed(raw(DIGITS, 1), DIGITS)
    request.parameters["binary_data_output"].bool_param = True
    request.outputs.add(name=DIGITS.output_name).parameters["binary_data"].bool_param = True
    request.inputs[0].parameters["binary_data_size"].int64_param = 64
    assert channel.unary_unary(INFER)(request.SerializeToString())


def test_rejected_messages(channel: grpc.Channel) -> None:
    infer = channel.unary_unary(INFER)
    images = raw(DIGITS, 2)
    short, both, large = typed(images[:1], DIGITS), typed(images, DIGITS), typed(images, DIGITS)
    short.inputs[0].shape[0] = 2
    both.raw_input_contents.append(images.tobytes())
    large.inputs[0].contents.uint_contents[5] = 256
    for request, message in [
        (short, "contents.uint_contents: found 64 numbers; the shape has 128"),
        (both, "no contents beside them"),
        (large, "found the number 256; allowed: whole numbers from 0 to 255"),
    ]:
        code, details = status_of(lambda request=request: infer(request.SerializeToString()))
        assert (code, message in details) == (Code.INVALID_ARGUMENT, True), details
    assert status_of(lambda: infer(b"\xff\xff")) == (Code.INVALID_ARGUMENT, "the message is no ModelInferRequest")
    assert status_of(lambda: infer(b""))[0] == Code.NOT_FOUND
    assert status_of(lambda: infer(b"", metadata=[("content-encoding", "gzip")]))[0] == Code.INVALID_ARGUMENT
    assert status_of(lambda: infer(b" " * 5_000_000))[0] == Code.RESOURCE_EXHAUSTED
    assert status_of(lambda: infer(b"", metadata=[("x", "y" * 20_000)]))[0] == Code.RESOURCE_EXHAUSTED
    unknown = channel.unary_unary("/inference.GRPCInferenceService/ModelUnload")
    assert status_of(lambda: unknown(b""))[0] == Code.UNIMPLEMENTED
    assert status_of(lambda: channel.unary_unary("/other.Service/Method")(b""))[0] == Code.UNIMPLEMENTED


def test_values_that_are_not_finite_are_rejected(tmp_path: Path, serve_grpc: Make) -> None:
    steep = replace(weights(PRICES), kernel=np.full((4, 1), 10, np.float32))
    example = {"inputs": [[0.0] * 4], "outputs": steep.expected(np.zeros((1, 4), np.float32)).tolist()}
    server = serve_grpc(write(tmp_path, steep, example=example))
    infer = grpc.insecure_channel(server.address).unary_unary(INFER)
    for value, message in [(np.nan, "found NaN or infinity"), (3e38, "the output of the model is not finite")]:
        rows = np.full((2, 4), value, np.float32)
        code, details = status_of(lambda rows=rows: infer(typed(rows, PRICES).SerializeToString()))
        assert (code, message in details) == (Code.INVALID_ARGUMENT, True), details


def test_codes_of_no_category_are_rejected(tmp_path: Path, serve_grpc: Make) -> None:
    infer = grpc.insecure_channel(serve_grpc(write(tmp_path, weights(HOUSES))).address).unary_unary(INFER)
    code, details = status_of(lambda: infer(typed(np.float32([[1, 3, 0]]), HOUSES).SerializeToString()))
    assert (code, "allowed: a code from 0 to 2" in details) == (Code.INVALID_ARGUMENT, True), details


@pytest.mark.parametrize(
    ("metadata", "accepted"),
    [
        ((), False),
        ((("authorization", "Bearer wrong"),), False),
        ((("authorization", KEY),), False),
        ((("authorization", f"Bearer {KEY}"),), True),
        ((("x-api-key", KEY),), True),
    ],
)
def test_the_api_key(digits: Path, serve_grpc: Make, metadata: tuple[tuple[str, str], ...], accepted: bool) -> None:
    server = serve_grpc(digits, api_key=KEY)
    headers = dict(metadata)
    with triton.InferenceServerClient(server.address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        calls: list[Callable[[], Any]] = [
            lambda: client.infer("tandem", [tensor(raw(DIGITS, 1))], headers=headers),
            lambda: client.is_model_ready("tandem", headers=headers),
            lambda: client.get_server_metadata(headers=headers),
            lambda: client.get_model_metadata("tandem", headers=headers),
            lambda: client.get_model_config("tandem", headers=headers),
            lambda: client.get_inference_statistics(headers=headers),
            lambda: client.get_model_repository_index(headers=headers),
        ]
        for call in calls:
            if accepted:
                assert call()
                continue
            with pytest.raises(triton.InferenceServerException) as caught:
                call()
            assert caught.value.status() == str(Code.UNAUTHENTICATED)
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")
        )
        assert check.status == health_pb2.HealthCheckResponse.SERVING


def silent(end: threading.Event) -> Iterator[bytes]:
    """Never sends a message; no deadline keeps the thread that waits for it after `end`."""
    end.wait(PATIENCE)
    yield from ()


def test_a_call_without_key_is_rejected_before_its_message(digits: Path, serve_grpc: Make) -> None:
    end = threading.Event()
    with grpc.insecure_channel(serve_grpc(digits, api_key=KEY).address) as channel:
        assert status_of(lambda: channel.stream_unary(INFER)(silent(end)))[0] == Code.UNAUTHENTICATED
        end.set()


def test_slow_messages_have_a_deadline_and_share_a_memory_budget(digits: Path, serve_grpc: Make) -> None:
    server = serve_grpc(digits, timeout_seconds=3.0, max_body_bytes=10_000, max_held_bytes=20_000)
    end = threading.Event()
    with grpc.insecure_channel(server.address) as channel:
        calls = [channel.stream_unary(INFER).future(silent(end)) for _ in range(5)]
        ended = [(call.code(), call.details()) for call in calls]
        assert channel.unary_unary(INFER)(typed(raw(DIGITS, 1), DIGITS).SerializeToString())
        end.set()
    assert sorted(code.name for code, _ in ended) == ["DEADLINE_EXCEEDED"] * 2 + ["UNAVAILABLE"] * 3
    assert {details for code, details in ended if code == Code.DEADLINE_EXCEEDED} == {
        "the body did not arrive within 3.0 s"
    }
    wait_for(lambda: len(server.worker.deadlines) == server.worker.load.in_flight == 0)


def test_the_deadline_of_the_client(
    digits: Path,
    serve_grpc: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    collector: Collector,
) -> None:
    """A call that it ends is in the metrics, the log and the trace, as one that is answered."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    server = serve_grpc(digits, log_share=1.0)
    predict = server.worker.champion.predictor.predict
    slow = server.worker.reloader.champion.__class__(**vars(server.worker.champion) | {"inline": False})
    server.worker.reloader.champion = slow
    ended, lines = threading.Event(), list[str]()
    monkeypatch.setattr(slow.predictor, "predict", lambda inputs: (ended.wait(PATIENCE), predict(inputs))[1])
    with triton.InferenceServerClient(server.address) as client:
        grpc.channel_ready_future(client._channel).result(PATIENCE)  # connected before the deadline begins
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer("tandem", [tensor(raw(DIGITS, 210))], client_timeout=1.0)
        assert caught.value.status() == str(Code.DEADLINE_EXCEEDED)
        labels = {"endpoint": "grpc_infer", "status": "499"}
        metrics = server.worker.metrics
        wait_for(lambda: metrics.registry.get_sample_value("tandem_requests_total", labels) == 1)
        wait_for(lambda: lines.extend(capsys.readouterr().out.splitlines()) or lines)
        (line,) = map(json.loads, lines)
        assert (line["endpoint"], line["status"], line["bytes"]) == ("grpc_infer", 499, 0)
        wait_for(lambda: server.worker.tracing._provider.force_flush() and collector.spans)
        (span,) = collector.spans
        assert attributes(span)["http.response.status_code"] == 499
        ended.set()
        monkeypatch.setattr(slow.predictor, "predict", predict)
        assert client.infer("tandem", [tensor(raw(DIGITS, 1))], client_timeout=PATIENCE)
    wait_for(lambda: len(server.worker.deadlines) == server.worker.load.in_flight == 0)
    wait_for(lambda: server.worker.response_budget.available == server.worker.response_budget.total)


def test_overload_is_unavailable(digits: Path, serve_grpc: Make) -> None:
    server = serve_grpc(digits, max_waiting=1)
    server.worker.deadlines._started[None] = time.monotonic()  # type: ignore[index]
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(INFER)(b"")
        assert channel.unary_unary("/inference.GRPCInferenceService/ServerReady")(b"")
    assert caught.value.code() == Code.UNAVAILABLE
    assert dict(caught.value.trailing_metadata())["retry-after"] == "1"


def test_answers_carry_the_request_id_and_the_version(channel: grpc.Channel) -> None:
    request = typed(raw(DIGITS, 1), DIGITS).SerializeToString()
    _, call = channel.unary_unary(INFER).with_call(request, metadata=[("x-request-id", "mine"), ("blob-bin", b"\xff")])
    metadata = dict(call.trailing_metadata())
    assert (metadata["x-request-id"], metadata["x-model-version"]) == ("mine", "1")
    assert metadata["server-timing"].startswith("queue;dur=")


def test_a_silent_connection_is_closed_and_connections_are_limited(digits: Path, serve_grpc: Make) -> None:
    server = serve_grpc(digits, header_timeout_seconds=1.0, max_connections=2)
    host, port = server.address.split(":")
    opened = [socket.create_connection((host, int(port)), timeout=PATIENCE) for _ in range(6)]
    for wire in opened:
        received = b""
        while chunk := wire.recv(1000):
            received += chunk
        wire.close()
    with triton.InferenceServerClient(server.address) as client:
        assert client.infer("tandem", [tensor(raw(DIGITS, 1))])


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def unread_call(server: LocalServer, count: int = 1) -> socket.socket:
    """A connection with a call of whose answer the server may send nothing, as the window has 0 bytes."""
    host, port = server.address.split(":")
    fields = {":method": "POST", ":scheme": "http", ":path": INFER, ":authority": host}
    fields |= {"te": "trailers", "content-type": "application/grpc"}
    pairs = [text.encode() for field in fields.items() for text in field]
    coded = [bytes([len(text)]) + text for text in pairs]
    headers = b"".join(b"\0" + name + value for name, value in zip(coded[::2], coded[1::2], strict=True))
    message = typed(raw(DIGITS, count) // 2, DIGITS).SerializeToString()  # a byte for each pixel
    wire = socket.create_connection((host, int(port)), timeout=PATIENCE)
    settings = frame(4, 0, 0, struct.pack(">HI", 4, 0))
    call = frame(1, 4, 1, headers) + frame(0, 1, 1, struct.pack(">BI", 0, len(message)) + message)
    wire.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + call)
    return wire


def answer_pings(wire: socket.socket) -> None:
    """Acknowledge the pings that have arrived."""
    with contextlib.suppress(BlockingIOError, ConnectionError):
        for content in wire.recv(10_000, socket.MSG_DONTWAIT).split(frame(6, 0, 0, b"12345678")[:9])[1:]:
            wire.sendall(frame(6, 1, 0, content[:8]))


@pytest.mark.parametrize("answers_pings", [False, True])
def test_an_answer_that_is_not_read_has_a_time_limit(
    answers_pings: bool, digits: Path, serve_grpc: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pings or, if the client answers these, by the age of the connection."""
    monkeypatch.setattr("serving.grpc.server.AGE_MILLISECONDS", 1000 if answers_pings else 600_000)
    server = serve_grpc(digits, timeout_seconds=3.0, turn_seconds=0.0, write_timeout_seconds=0.5)
    request = typed(raw(DIGITS, 1), DIGITS).SerializeToString()
    with unread_call(server) as wire, grpc.insecure_channel(server.address) as channel:
        end = time.monotonic() + 6  # the limit is below 5 s
        while time.monotonic() < end:  # others notice nothing
            assert channel.unary_unary(INFER)(request)
            if answers_pings:
                answer_pings(wire)
            time.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):
            while wire.recv(10_000):
                pass


def test_the_memory_of_a_large_response_is_held_until_the_call_ends(digits: Path, serve_grpc: Make) -> None:
    count = 210
    server = serve_grpc(digits)
    budget = server.worker.response_budget
    with triton.InferenceServerClient(server.address) as client:
        inputs = raw(DIGITS, count)
        outputs = client.infer("tandem", [tensor(inputs)]).as_numpy("probabilities")
        np.testing.assert_allclose(outputs, onnx_outputs(DIGITS, inputs), rtol=1e-6, atol=1e-6)
    with unread_call(server, count):
        wait_for(lambda: budget.total - budget.available == 16 * 10 * count)
        time.sleep(0.3)
        assert budget.available < budget.total
    wait_for(lambda: budget.available == budget.total)
    with grpc.insecure_channel(server.address) as channel:
        response = channel.unary_unary(INFER)(typed(inputs, DIGITS).SerializeToString())
        (output,) = triton.service_pb2.ModelInferResponse.FromString(response).outputs
        np.testing.assert_allclose(output.contents.fp32_contents, outputs.ravel(), rtol=1e-6)
    wait_for(lambda: budget.available == budget.total)


def test_the_largest_settings_are_within_grpcs_numbers_of_32_bits(digits: Path, serve_grpc: Make) -> None:
    seconds = ("timeout_seconds", "turn_seconds", "header_timeout_seconds", "write_timeout_seconds")
    counts = ("max_body_bytes", "max_header_bytes", "max_connections", "max_batch", "run_rows")
    server = serve_grpc(digits, **dict.fromkeys(seconds, 1e306), **dict.fromkeys(counts, 1 << 40))
    with triton.InferenceServerClient(server.address) as client:
        assert client.infer("tandem", [tensor(raw(DIGITS, 1))])
        config = client.get_model_config("tandem").config
        assert config.max_batch_size == config.dynamic_batching.preferred_batch_size[0] == (1 << 31) - 1


def test_calls_that_watch_the_health_are_limited(
    digits: Path, serve_grpc: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.grpc.server.MAX_WATCHES", 2)
    with grpc.insecure_channel(serve_grpc(digits).address) as channel:
        stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
        watches = [stub.Watch(request) for _ in range(2)]
        assert [next(watch).status for watch in watches] == [health_pb2.HealthCheckResponse.SERVING] * 2
        assert status_of(lambda: next(stub.Watch(request)))[0] == Code.RESOURCE_EXHAUSTED
        assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING


def test_a_client_that_does_not_read_the_health_does_not_prevent_a_stop(digits: Path) -> None:
    settings = Settings(champion=digits, grpc_port=free_port())
    server = Server(unused_application, settings)

    async def go() -> None:
        await server.start("127.0.0.1", uvicorn.Config(unused_application))
        async with server._health._server_watchers[""]:  # as while a state is written
            await asyncio.wait_for(server.stop(), PATIENCE)

    asyncio.run(go())


def test_the_certificate_is_that_of_http(digits: Path, serve_grpc: Make, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    tls = {"ssl_keyfile": str(key), "ssl_certfile": str(certificate), "ssl_cert_reqs": ssl.CERT_NONE}
    server = serve_grpc(digits, tls=tls)
    with triton.InferenceServerClient(server.address, ssl=True, root_certificates=str(certificate)) as client:
        assert client.infer("tandem", [tensor(raw(DIGITS, 1))])
    with grpc.insecure_channel(server.address) as channel:
        assert status_of(lambda: channel.unary_unary(INFER)(b""))[0] == Code.UNAVAILABLE


def test_the_port_of_http_is_an_error_at_start(digits: Path, tmp_path: Path) -> None:
    port = str(free_port())
    variables = environment(tmp_path / "home", TANDEM_CHAMPION=str(digits), TANDEM_GRPC_PORT=port)
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:Tandem", "--port", port]
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert f"TANDEM_GRPC_PORT: {port}: the port of HTTP; name another one" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_port_in_use_is_an_error_at_start(digits: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(champion=digits, grpc_port=other.getsockname()[1])
        with pytest.raises(InputError, match=r"TANDEM_GRPC_PORT: .* in use; name a free port"):
            preflight.check(settings)
    preflight.check(settings)
