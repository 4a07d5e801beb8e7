"""Every kind of logged model through `mlflow.pyfunc` and over HTTP gives the answers of the service."""

import os
import re
import subprocess
import sys
import time
from importlib import metadata

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import requests
from fastapi.testclient import TestClient
from mlflow.pyfunc import scoring_server

from models.onnx import inference
from models.onnx.session import open_session
from models.spec import DataSpec
from pipelines.config import params
from pipelines.execution.candidate import Candidate
from pipelines.execution.ports import free_port
from pipelines.tracking import logged_models, tandem_model
from pipelines.tracking.run import NATIVE_FILES
from serving.api import table_rows
from serving.errors import RequestError
from tests.pipelines.synthetic import SPEC as DIGITS
from tests.pipelines.synthetic import digits
from tests.pipelines.workspace import REPOSITORY

HOUSES = DataSpec(
    name="houses",
    task="classification",
    kind="tabular",
    shape=(3,),
    dtype="float32",
    labels=("cheap", "dear"),
    target="price",
    features=("size", "colour", "sold"),
    mean=(100.0, 0.0, 0.0),
    std=(20.0, 1.0, 1.0),
    categories=((), ("red", "green", "blue"), ("false", "true")),
    fill=(99.0, -1.0, None),
)
ROWS = [
    {"size": 120, "colour": " red ", "sold": True},
    {"size": None, "colour": None, "sold": "TRUE"},
    {"size": 80.5, "colour": "mauve", "sold": "false"},
]
REJECTED = [
    {"size": "120", "colour": "red", "sold": "true"},
    {"size": True, "colour": "red", "sold": "true"},
    {"size": 1e39, "colour": "red", "sold": "true"},
    {"size": 120, "colour": 1, "sold": "true"},
    {"size": 120, "colour": "red", "sold": None},
    {"size": 120, "colour": "red"},
    {"size": 120, "colour": "red", "sold": "true", "garden": 1},
]
KINDS = ("torch", "keras", "onnx")


@pytest.fixture(scope="module")
def written(tmp_path_factory, torch_operators):
    """MLflow models in folders, by data and kind, and the graph whose answers they must give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
        yield {spec.name: write(spec, tmp_path_factory.mktemp(spec.name)) for spec in (DIGITS, HOUSES)}


def write(spec, folder):
    """Models of the three kinds with the same weights: of a residual network for images, else of a perceptron."""
    architecture = "resnet" if spec.kind == "image" else "mlp"
    config = params.read(REPOSITORY / "params.yaml").models.of(architecture)
    if spec.kind == "image":
        config = config.model_copy(update={"channels": (4, 8), "blocks": 1})
    torch, keras = Candidate("torch", architecture), Candidate("keras", architecture)
    models = {chosen.framework: chosen.architecture_module().build(spec, config) for chosen in (torch, keras)}
    keras.framework_module("store").set_weights(
        models["keras"], torch.framework_module("store").get_weights(models["torch"])
    )
    (folder / "exported").mkdir()
    for chosen in (keras, torch):
        chosen.framework_module("export").export(models[chosen.framework], spec, folder / "exported")
        file = folder / "exported" / NATIVE_FILES[chosen.framework]
        logged_models.write_native(file, chosen.framework, spec, raw(spec), folder / chosen.framework)
    logged_models.write_onnx(folder / "exported" / "model.onnx", spec, raw(spec), folder / "onnx")
    return folder


def raw(spec):
    """Raw examples as the exported graph takes them."""
    return digits()["test"][0][:3] if spec is DIGITS else table_rows.parse(ROWS, HOUSES)


def served(folder, spec):
    """The answers of the service: the exported graph on what it reads from the request."""
    return inference.run(open_session(folder / "exported" / "model.onnx", "cpu"), raw(spec))


@pytest.mark.parametrize("kind", KINDS)
def test_images_as_array_dict_data_frame_and_the_example(written, kind):
    folder, images = written["digits"], raw(DIGITS)
    model = mlflow.pyfunc.load_model(str(folder / kind))
    example = model.input_example
    for images_in in (images, {"image": images}, pd.DataFrame({"image": list(images.reshape(3, -1))}), example):
        answers = model.predict(images_in)
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, served(folder, DIGITS), atol=2e-6)
    with pytest.raises(mlflow.MlflowException, match="float32"):
        model.predict(images.astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_by_raw_column_as_data_frame_dict_records_and_the_example(written, kind):
    folder, frame = written["houses"], pd.DataFrame(ROWS)
    model = mlflow.pyfunc.load_model(str(folder / kind))
    assert model.metadata.signature.inputs.input_names() == list(HOUSES.features)
    assert model.metadata.signature.outputs.input_names() == ["probabilities"]
    as_dict = {name: list(frame[name]) for name in reversed(HOUSES.features)}
    for rows in (frame, frame[["sold", "colour", "size"]], frame.astype({"colour": "category"}), as_dict, ROWS):
        np.testing.assert_allclose(model.predict(rows), served(folder, HOUSES), atol=2e-6)
    assert model.input_example["sold"].tolist() == ["true", "true", "false"]
    np.testing.assert_allclose(model.predict(model.input_example), served(folder, HOUSES), atol=2e-6)
    assert model.predict(pd.DataFrame({"size": [1, 2], "colour": ["red"] * 2, "sold": ["true"] * 2})).shape == (2, 2)


def test_missing_and_unknown_features_are_named_apart():
    row = {"size": 1, "age": 2, "floor": 3}
    with pytest.raises(ValueError, match=r"^missing features: colour, sold; unknown features: age, floor$"):
        tandem_model.encode(pd.DataFrame([row]), HOUSES.to_dict())


def test_a_dict_of_text_columns_alone_is_read_by_column(written):
    spec = DIGITS.to_dict() | {"kind": "tabular", "features": ["a"], "categories": [["x", "y"]], "fill": [None]}
    assert tandem_model.encode(pd.DataFrame([{"a": ["y", "x"]}]), spec).tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize("row", REJECTED)
def test_rows_that_the_service_rejects_are_rejected(row):
    with pytest.raises(RequestError):
        table_rows.parse([ROWS[0], row], HOUSES)
    with pytest.raises(ValueError, match=r"row 1|garden|sold"):
        tandem_model.encode(pd.DataFrame([ROWS[0], row], dtype=object), HOUSES.to_dict())


def test_a_regression_predicts_in_its_unit():
    spec = HOUSES.to_dict() | {"task": "regression", "target_mean": 1000.0, "target_std": 50.0}
    model = tandem_model.TandemModel(spec, lambda inputs: tandem_model._activation(inputs[:, :1] * 0 + 2, spec))
    assert model.predict(pd.DataFrame([ROWS[0]])).tolist() == [[1100.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_over_http(written, kind):
    for name, spec, body in (
        ("digits", DIGITS, {"inputs": {"image": raw(DIGITS).tolist()}}),
        ("digits", DIGITS, {"instances": [{"image": image} for image in raw(DIGITS).tolist()]}),
        ("houses", HOUSES, {"dataframe_records": ROWS}),
    ):
        with TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(written[name] / kind)))) as client:
            response = client.post("/invocations", json=body)
        assert response.status_code == 200, response.text
        np.testing.assert_allclose(response.json()["predictions"], served(written[name], spec), atol=2e-6)


def test_mlflow_models_serve_elsewhere(written, tmp_path):
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(written["houses"] / "onnx"),
        "-p",
        str(port),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--env-manager", "local"],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        response = post(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": ROWS}, process)
        np.testing.assert_allclose(response["predictions"], served(written["houses"], HOUSES), atol=2e-6)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert "CUDA" not in (tmp_path / "log").read_text("utf-8")


def post(url, body, process):
    """The response of a server that may not have started yet."""
    for _ in range(3000):
        assert process.poll() is None
        try:
            return requests.post(url, json=body, timeout=300).json()
        except requests.ConnectionError:
            time.sleep(0.1)
    raise TimeoutError(url)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_has_no_pickle_and_pinned_requirements(written, kind):
    folder = written["digits"] / kind
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pth", ".pt"))]
    lines = (folder / "requirements.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in lines), lines
    assert f"mlflow=={metadata.version('mlflow')}" in lines
    assert f"numpy=={metadata.version('numpy')}" in lines
    assert any(line.startswith({"onnx": "onnxruntime"}.get(kind, kind)) for line in lines)


def test_each_flavor_of_a_framework_loads_its_model(written):
    import torch

    folder = written["digits"]
    images = torch.from_numpy(np.array(raw(DIGITS)))
    assert mlflow.pytorch.load_model(str(folder / "torch"))(images).shape == (3, 10)
    assert mlflow.tensorflow.load_model(str(folder / "keras"))(raw(DIGITS)).shape == (3, 10)
    loaded = mlflow.onnx.load_model(str(folder / "onnx"))
    assert loaded == onnx.load(folder / "exported" / "model.onnx")


def test_onnx_through_pyfunc_names_the_processor(written, capfd):
    model = mlflow.pyfunc.load_model(str(written["digits"] / "onnx"))
    model.predict(raw(DIGITS))
    assert model.metadata.flavors["onnx"]["providers"] == ["CPUExecutionProvider"]
    assert "CUDA" not in capfd.readouterr().err
