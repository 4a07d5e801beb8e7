"""The prediction log: what a line holds, that it is bounded, and that it never stands in an answer's way."""

import asyncio
import base64
import json
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

Make = Callable[..., Local]


def lines(folder: Path) -> list[dict[str, Any]]:
    """All lines of all files."""
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text("utf-8").splitlines()]


def flush(found: Local) -> None:
    assert found.worker.prediction_log
    asyncio.run(found.worker.prediction_log.flush())


def counted(found: Local, result: str) -> float:
    name = "tandem_prediction_log_total"
    return found.worker.metrics.registry.get_sample_value(name, {"result": result}) or 0.0


def test_nothing_is_written_unless_asked(local: Make, digits: Path, tmp_path: Path) -> None:
    found = local(digits)
    assert found.post("/predict", json={"inputs": raw(DIGITS, 1).tolist()}).status_code == 200
    assert found.worker.prediction_log is None


def test_a_line_of_an_image_holds_its_summary_and_not_its_pixels(local: Make, digits: Path, tmp_path: Path) -> None:
    found, images = local(digits, prediction_log=tmp_path / "log"), raw(DIGITS, 2)
    answer = found.post("/predict", json={"inputs": images.tolist()}, headers={"x-request-id": "abc"})
    flush(found)
    first, second = lines(tmp_path / "log")
    assert set(first) == {"time", "request_id", "index", "version", "sha256", "inputs", "label", "probabilities"}
    assert (first["request_id"], first["index"], second["index"], first["version"]) == ("abc", 0, 1, "1")
    assert first["sha256"] == found.worker.champion.sha256
    assert first["inputs"] == summary.summarise(images, DIGITS)[0].tolist()
    told = answer.json()["predictions"][0]
    assert first["label"] == told["label"]
    np.testing.assert_allclose(first["probabilities"], list(told["probabilities"].values()), atol=1e-4)
    assert (counted(found, "written"), counted(found, "dropped")) == (2, 0)


def test_pixels_are_written_where_they_are_asked_for(local: Make, digits: Path, tmp_path: Path) -> None:
    found, images = local(digits, prediction_log=tmp_path / "log", prediction_log_inputs=True), raw(DIGITS, 1)
    found.post("/predict", json={"inputs": images.tolist()})
    flush(found)
    assert base64.b64decode(lines(tmp_path / "log")[0]["image"]) == images.tobytes()


def test_a_line_of_a_table_is_its_row(local: Make, iris: Path, tmp_path: Path) -> None:
    found, rows = local(iris, prediction_log=tmp_path / "log"), raw(IRIS, 1)
    found.post("/predict", json={"inputs": rows.tolist()})
    flush(found)
    np.testing.assert_array_equal(lines(tmp_path / "log")[0]["inputs"], rows[0])


def test_the_inference_protocol_is_logged_too_and_refusals_are_not(local: Make, iris: Path, tmp_path: Path) -> None:
    found, rows = local(iris, prediction_log=tmp_path / "log"), raw(IRIS, 3)
    tensor = {"name": "features", "datatype": "FP32", "shape": [3, 4], "data": rows.ravel().tolist()}
    assert found.post("/v2/models/tandem/infer", json={"inputs": [tensor]}).status_code == 200
    assert found.post("/predict", json={"inputs": [[1, 2]]}).status_code == 400
    flush(found)
    assert len(lines(tmp_path / "log")) == 3


def test_more_than_can_wait_is_dropped_and_counted(
    local: Make, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MAX_BYTES", 5 * 64)
    found = local(digits, prediction_log=tmp_path / "log")
    for _ in range(4):
        assert found.post("/predict", json={"inputs": raw(DIGITS, 2).tolist()}).status_code == 200
    flush(found)
    assert (counted(found, "written"), counted(found, "dropped")) == (4, 4)
    found.post("/predict", json={"inputs": raw(DIGITS, 2).tolist()})  # and there is room again
    flush(found)
    assert len(lines(tmp_path / "log")) == 6


def test_files_are_set_aside_and_the_oldest_removed(local: Make, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found = local(digits, prediction_log=folder, prediction_log_bytes=4096, prediction_log_files=3)
    for _ in range(30):
        found.post("/predict", json={"inputs": raw(DIGITS, 4).tolist()})
        flush(found)
    assert len(list(folder.iterdir())) == 3
    assert all(path.stat().st_size <= 4096 for path in folder.iterdir())
    assert 12 <= len(lines(folder)) < 120


def test_a_line_that_cannot_be_written_costs_no_answer(local: Make, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    found = local(digits, prediction_log=folder)
    folder.rmdir()
    assert found.post("/predict", json={"inputs": raw(DIGITS, 1).tolist()}).status_code == 200
    flush(found)
    assert counted(found, "failed") == 1
    folder.mkdir()
    found.post("/predict", json={"inputs": raw(DIGITS, 1).tolist()})
    flush(found)
    assert len(lines(folder)) == 1


def test_a_folder_that_cannot_be_made_is_an_error_before_any_worker_starts(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"TANDEM_PREDICTION_LOG: .*file"):
        preflight.check(Settings(champion=digits, prediction_log=tmp_path / "file" / "log"))


def test_workers_have_files_of_their_own_and_write_the_last_line_before_they_end(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with serve(digits, tmp_path / "home", TANDEM_WORKERS="2", TANDEM_PREDICTION_LOG=str(folder)) as served:
        for _ in range(40):
            with httpx.Client() as client:  # a connection each, so that both workers get some
                client.post(f"{served.url}/predict", json={"inputs": raw(DIGITS, 1).tolist()}).raise_for_status()
    assert len(lines(folder)) == 40
    assert {path.suffix for path in folder.iterdir()} == {".jsonl"}
    assert 1 <= len(list(folder.iterdir())) <= 2
