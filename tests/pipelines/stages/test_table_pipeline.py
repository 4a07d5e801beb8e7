"""A user-provided table through every stage to a champion that the service loads, without mocks."""

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import tensorflow  # noqa: F401  # before the writer of torch makes TensorBoard do without it
from fastapi.testclient import TestClient
from mlflow.pyfunc import scoring_server

from models.manifest import MANIFEST
from models.onnx import inference
from models.onnx.session import open_session
from models.spec import DataSpec
from pipelines.artifacts import bundle, paths
from pipelines.artifacts.hashing import hash_files
from pipelines.config import params
from pipelines.drift import __main__ as drift
from pipelines.evaluate import __main__ as evaluate
from pipelines.export import __main__ as export
from pipelines.load import __main__ as load
from pipelines.prepare import __main__ as prepare
from pipelines.promote import __main__ as promote
from pipelines.tracking import location
from pipelines.train import __main__ as train
from serving.api import table_rows
from serving.inference import champion
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, read_split, write_params
from tests.serving.conftest import make_local

pytestmark = pytest.mark.usefixtures("torch_operators")
COLOURS = ("red", "green", "blue")
QUICK = {
    "data.source": "csv",
    "data.path": "houses.csv",
    "train.device": "cpu",
    "evaluate.device": "cpu",
    "evaluate.latency_seconds": 0.02,
    "evaluate.bootstrap": 100,
    "drift.minimum_rows": 20,
}


def write_houses(path: Path, gaps: tuple[int, ...]) -> None:
    """300 rows with missing values in the columns `gaps`; the price depends on all columns."""
    random = np.random.default_rng(0)
    size = random.normal(100, 20, 300)
    colour, sold = random.integers(0, 3, 300), random.integers(0, 2, 300)
    price = 1000 + 3 * size + 40 * colour + 60 * sold + random.normal(0, 5, 300)
    words = np.array(COLOURS)[colour], np.array(["false", "true"])[sold]
    columns = size.round(2).astype(str), *words, price.round(1).astype(str)
    lines = [list(line) for line in zip(*columns, strict=True)]
    for line in range(0, 300, 25):
        lines[line][gaps[line // 25 % len(gaps)]] = ""
    lines[7][1] = "mauve"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["size", "colour", "sold", "price"], *lines])


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, frameworks: list[str], architecture: str, **changes: Any
) -> None:
    """Every stage, in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # of the processes that read exported files back
    shutil.copy(synthetic.store(), "mlflow.db")
    write_houses(folder / "houses.csv", gaps=(0, 1, 2) if changes["data__target"] == "price" else (0, 1))
    only = {"frameworks": frameworks, "architectures": [architecture]}
    write_params(folder, QUICK | only | {key.replace("__", "."): value for key, value in changes.items()})
    load.main()
    prepare.main()
    for framework in frameworks:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["stage", "--framework", framework, "--architecture", architecture])
            for stage in (train, export, evaluate):
                stage.main()
    promote.main()


def strict_json(path: Path) -> Any:
    """JSON without NaN and Infinity, which are not valid but which Python writes."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{path}: {word}")

    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def test_a_regression_from_file_to_predictions(tmp_path, monkeypatch, capsys):
    run(monkeypatch, tmp_path, ["torch"], "linear", data__target="price")
    output = capsys.readouterr().out
    for words in ("target 'price': regression", "colour    categories  4", "mae", "best validation r2"):
        assert words in output
    spec, (inputs, targets) = DataSpec.read(paths.SPEC), read_split("train")
    assert spec.task == "regression"
    assert spec.target_mean == pytest.approx(targets.mean(), rel=1e-6)
    assert spec.fill == (pytest.approx(np.nanmedian(inputs[:, 0])), -1.0, -1.0)
    found = strict_json(paths.metrics("torch-linear"))["test"]
    assert 0.95 < found["r2_low"] <= found["r2"] <= found["r2_high"] <= 1
    assert found["mae"] < found["rmse"] < 15
    report = paths.REPORT.read_text("utf-8")
    links = [part.split(")")[0] for part in report.split("](")[1:]]
    assert len(links) >= 4
    assert all((paths.ARTIFACTS / link).is_file() for link in links)
    strict_json(paths.CHAMPION / MANIFEST)
    served = champion.load(paths.CHAMPION, "cpu")
    row = {"size": 100, "colour": "green", "sold": True}
    asked = [row, row | {"size": None}, row | {"colour": "mauve"}, row | {"colour": None}]
    answers = served.predictor.predict(table_rows.parse(asked, served.spec))[:, 0]
    assert answers[0] == pytest.approx(1400, abs=15)
    assert answers[1] == pytest.approx(answers[0], abs=30)
    assert answers[2] == answers[3] or "mauve" in spec.categories[1]
    assert not any(each.drifted for each in log_and_compare(served))
    assert_logged_models_answer_as_the_service(tmp_path, ["torch-linear-native"])


def log_and_compare(served: champion.Champion) -> Any:
    """Drift between the training rows and a log of the test and validation rows."""
    logged = np.concatenate([read_split("test")[0], read_split("validation")[0]])
    lines = [
        {"time": 1.0, "sha256": served.sha256, "inputs": [None if np.isnan(value) else value for value in row]}
        | {"value": float(value)}
        for row, value in zip(logged.tolist(), served.predictor.predict(logged)[:, 0], strict=True)
    ]
    Path("log").mkdir()
    Path("log/worker.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    settings = params.read()
    return drift.compare(Path("log"), settings.drift, settings.evaluate.device)


def test_a_classification_from_file_to_predictions(tmp_path, monkeypatch):
    columns = {"data__target": "sold", "data__features": ["price", "size", "colour"]}
    run(monkeypatch, tmp_path, ["torch", "keras"], "mlp", **columns)
    spec = DataSpec.read(paths.SPEC)
    assert (spec.labels, spec.features) == (("false", "true"), ("price", "size", "colour"))
    assert strict_json(paths.metrics("torch-mlp"))["test"]["accuracy"] >= 0.9
    served = champion.load(paths.CHAMPION, "cpu")
    row = {"price": 1500, "size": 100, "colour": "red"}
    rows = [row, row | {"colour": None}, row | {"colour": "mauve", "size": None}]
    outputs = served.predictor.predict(table_rows.parse(rows, served.spec))
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
    assert_logged_models_answer_as_the_service(tmp_path, ["torch-mlp-native", "keras-mlp-native"])


def assert_logged_models_answer_as_the_service(folder: Path, native: list[str]) -> None:
    """Rows of the file, with categories and missing values, over HTTP and as a DataFrame."""
    spec, manifest = DataSpec.read(paths.SPEC), strict_json(paths.CHAMPION / MANIFEST)
    frame = pd.read_csv("houses.csv")[[*spec.features]].head(60)
    frame.loc[59, "colour"] = "another"
    assert frame.isna().any().sum() >= 2
    rows = json.loads(frame.to_json(orient="records"))
    mlflow.set_tracking_uri(location.uri())
    experiment = mlflow.get_experiment_by_name("tandem")
    models = mlflow.search_logged_models([experiment.experiment_id], output_format="list")
    champion_name = manifest["name"].removesuffix("-int8")
    assert sorted(model.name for model in models) == sorted([*native, f"{champion_name}-onnx"])
    for model in models:
        candidate, _, kind = model.name.rpartition("-")
        served = paths.CHAMPION if kind == "onnx" else served_by(candidate, manifest, folder / candidate)
        response = make_local(served).post("/predict", json={"inputs": rows})
        assert response.status_code == 200, response.text
        expected = [
            [one["probabilities"][label] for label in spec.labels] if spec.labels else [one["value"]]
            for one in response.json()["predictions"]
        ]
        loaded = mlflow.pyfunc.load_model(model.model_uri)
        np.testing.assert_allclose(loaded.predict(frame), expected, rtol=1e-6, atol=2e-6)
        with TestClient(scoring_server.init(loaded)) as client:  # the application of `mlflow models serve`
            for body in ({"dataframe_records": rows}, {"dataframe_split": json.loads(frame.to_json(orient="split"))}):
                response = client.post("/invocations", json=body)
                assert response.status_code == 200, response.text
                np.testing.assert_allclose(response.json()["predictions"], expected, rtol=1e-6, atol=2e-6)


def served_by(candidate: str, manifest: dict[str, Any], folder: Path) -> Path:
    """The bundle of a candidate, as if it had been promoted."""
    folder.mkdir()
    model = paths.exports(candidate) / "model.onnx"
    graph = open_session(model, "cpu")
    inputs = np.array(manifest["example"]["inputs"], np.float32)
    example = {**manifest["example"], "outputs": inference.run(graph, inputs).tolist()}
    record = {name: value for name, value in manifest.items() if name not in ("schema", "model")}
    bundle.build({**record, "name": candidate, "example": example}, model, hash_files([model]), folder)
    return folder
