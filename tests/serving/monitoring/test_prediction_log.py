"""Prediction log: content, limits, and failures that do not affect responses."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models import summary
from models.errors import InputError
from serving.monitoring import prediction_log
from serving.process import preflight
from serving.settings import Settings
from tests.serving.bundles import DIGITS, IRIS, raw
from tests.serving.conftest import Local, serve
from tests.serving.connections.test_acceptor import wait_for_workers

Make = Callable[..., Local]


def lines(folder: Path) -> list[dict[str, Any]]:
    """All lines of all files."""
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text("utf-8").splitlines()]


def flush(service: Local) -> None:
    assert service.worker.prediction_log
    asyncio.run(service.worker.prediction_log.flush())


def counted(service: Local, result: str) -> float:
    name = "tandem_prediction_log_total"
    return service.worker.metrics.registry.get_sample_value(name, {"result": result}) or 0.0


def test_no_log_is_written_by_default(local: Make, digits: Path, tmp_path: Path) -> None:
    service = local(digits)
    assert service.post("/predict", json={"inputs": raw(DIGITS, 1).tolist()}).status_code == 200
    assert service.worker.prediction_log is None


def test_a_line_of_an_image_has_its_summary_but_not_its_pixels(local: Make, digits: Path, tmp_path: Path) -> None:
    service, images = local(digits, prediction_log=tmp_path / "log"), raw(DIGITS, 2)
    answer = service.post("/predict", json={"inputs": images.tolist()}, headers={"x-request-id": "abc"})
    flush(service)
    first, second = lines(tmp_path / "log")
    assert set(first) == {"time", "request_id", "index", "version", "sha256", "inputs", "label", "probabilities"}
    assert (first["request_id"], first["index"], second["index"], first["version"]) == ("abc", 0, 1, "1")
    assert first["sha256"] == service.worker.champion.sha256
    assert first["inputs"] == summary.summarise(images, DIGITS)[0].tolist()
    prediction = answer.json()["predictions"][0]
    assert first["label"] == prediction["label"]
    np.testing.assert_allclose(first["probabilities"], list(prediction["probabilities"].values()), atol=1e-4)
    assert (counted(service, "written"), counted(service, "dropped")) == (2, 0)


def test_pixels_are_written_if_configured(local: Make, digits: Path, tmp_path: Path) -> None:
    service, images = local(digits, prediction_log=tmp_path / "log", prediction_log_inputs=True), raw(DIGITS, 1)
    service.post("/predict", json={"inputs": images.tolist()})
    flush(service)
    assert base64.b64decode(lines(tmp_path / "log")[0]["image"]) == images.tobytes()


def test_a_line_of_a_table_is_its_row(local: Make, iris: Path, tmp_path: Path) -> None:
    service, rows = local(iris, prediction_log=tmp_path / "log"), raw(IRIS, 1)
    service.post("/predict", json={"inputs": rows.tolist()})
    flush(service)
    np.testing.assert_array_equal(lines(tmp_path / "log")[0]["inputs"], rows[0])


def test_inference_protocol_is_logged_and_rejected_requests_are_not(local: Make, iris: Path, tmp_path: Path) -> None:
    service, rows = local(iris, prediction_log=tmp_path / "log"), raw(IRIS, 3)
    tensor = {"name": "features", "datatype": "FP32", "shape": [3, 4], "data": rows.ravel().tolist()}
    assert service.post("/v2/models/tandem/infer", json={"inputs": [tensor]}).status_code == 200
    assert service.post("/predict", json={"inputs": [[1, 2]]}).status_code == 400
    flush(service)
    assert len(lines(tmp_path / "log")) == 3


def test_requests_beyond_the_limit_of_the_queue_are_dropped_and_counted(
    local: Make, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MAX_BYTES", 5 * 64)
    service = local(digits, prediction_log=tmp_path / "log")
    for _ in range(4):
        assert service.post("/predict", json={"inputs": raw(DIGITS, 2).tolist()}).status_code == 200
    flush(service)
    assert (counted(service, "written"), counted(service, "dropped")) == (4, 4)
    service.post("/predict", json={"inputs": raw(DIGITS, 2).tolist()})  # the queue is empty again
    flush(service)
    assert len(lines(tmp_path / "log")) == 6


def test_files_are_rotated_and_the_oldest_removed(local: Make, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    service = local(digits, prediction_log=folder, prediction_log_bytes=4096, prediction_log_files=3)
    for _ in range(30):
        service.post("/predict", json={"inputs": raw(DIGITS, 4).tolist()})
        flush(service)
    assert len(list(folder.iterdir())) == 3
    assert all(path.stat().st_size <= 4096 for path in folder.iterdir())
    assert 12 <= len(lines(folder)) < 120


def test_a_failed_write_does_not_affect_responses(
    local: Make, digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    service = local(digits, prediction_log=folder)
    folder.rmdir()
    assert service.post("/predict", json={"inputs": raw(DIGITS, 200).tolist()}).status_code == 200
    flush(service)
    assert counted(service, "failed") == 200
    assert caplog.text.count("prediction log: lost 200 lines: ") == len(caplog.records) == 1
    folder.mkdir()
    service.post("/predict", json={"inputs": raw(DIGITS, 1).tolist()})
    flush(service)
    assert len(lines(folder)) == 1


def test_a_folder_that_cannot_be_created_is_an_error_before_any_worker_starts(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"TANDEM_PREDICTION_LOG: .*file"):
        preflight.check(Settings(champion=digits, prediction_log=tmp_path / "file" / "log"))


def test_two_workers_write_a_file_each_and_count_the_requests_of_a_key_together(digits: Path, tmp_path: Path) -> None:
    """All lines are written before a worker ends."""
    folder, keys = tmp_path / "log", tmp_path / "keys"
    # A name like that of a file of the metrics.
    keys.write_text("alice alices-key 4\nbob bobs-key unlimited\nmetrics.db reader 60\n", "utf-8")
    variables = {"TANDEM_WORKERS": "2", "TANDEM_PREDICTION_LOG": str(folder), "TANDEM_LOG_SHARE": "1"}
    with (
        serve(digits, tmp_path / "home", TANDEM_API_KEYS_FILE=str(keys), **variables) as served,
        contextlib.ExitStack() as stack,
    ):
        wait_for_workers(served)
        started = time.monotonic()
        # Connections that are open at once, so that both workers have some.
        clients = [stack.enter_context(httpx.Client(base_url=served.url)) for _ in range(24)]
        statuses = [client.get("/model", headers={"x-api-key": "alices-key"}).status_code for client in clients]
        assert 4 <= statuses.count(200) <= 5 + (time.monotonic() - started) / 15
        assert set(statuses) == {200, 429}
        body = {"inputs": raw(DIGITS, 1).tolist()}
        for client in clients * 2:
            client.post("/predict", json=body, headers={"x-api-key": "bobs-key"}).raise_for_status()
        metrics = clients[0].get("/metrics", headers={"x-api-key": "reader"})
        assert 'tandem_key_requests_total{key="metrics.db",result="accepted"}' in metrics.text
    output = served.output.read_text()
    assert len({worker(line) for line in output.splitlines() if '"endpoint":"model"' in line}) == 2
    assert "alices-key" not in output
    assert len(lines(folder)) == 48
    assert {path.suffix for path in folder.iterdir()} == {".jsonl"}
    assert len(list(folder.iterdir())) == 2


def worker(line: str) -> str:
    """What the ids of a worker's requests begin with."""
    return str(json.loads(line)["request_id"]).partition("-")[0]
