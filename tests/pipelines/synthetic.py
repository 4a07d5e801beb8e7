"""A workspace with the outputs of the stages before `evaluate`: small graphs fitted on real digits."""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import mlflow
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from models.onnx.graph import finish
from models.spec import DataSpec
from pipelines.artifacts import paths, validation_outputs
from pipelines.config import params
from pipelines.config.params import Params
from pipelines.export import graph_svg, quantization
from pipelines.tracking import location
from pipelines.tracking.run import NATIVE_FILES
from tests.pipelines.workspace import write_params

DATA = "d" * 64  # stands for the hash of the data
COMMIT = "c" * 40
SCALE = 255.0
# A PNG of one black pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
WORST = {"row": 7, "predicted": "3", "actual": "8", "confidence": 0.98, "image": PIXEL}
SPEC = DataSpec(
    name="digits",
    task="classification",
    kind="image",
    shape=(8, 8, 1),
    dtype="uint8",
    labels=tuple("0123456789"),
    target="digit",
    features=(),
    mean=(77.7,),
    std=(95.9,),
)


@cache
def digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Raw inputs uint8 [N, 8, 8, 1] and targets int64 [N] of three splits."""
    found = load_digits()
    inputs = np.rint(found.images * (255 / 16)).astype(np.uint8)[..., None]
    targets = found.target.astype(np.int64)
    edges = {"train": (0, 1257), "validation": (1257, 1527), "test": (1527, 1797)}
    return {name: (inputs[low:high], targets[low:high]) for name, (low, high) in edges.items()}


@cache
def fitted(strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Weights float32 [64, 10] and bias [10] of a logistic regression with inverse regularisation `strength`."""
    inputs, targets = digits()["train"]
    scaled = inputs.reshape(len(inputs), -1) / SCALE
    found = LogisticRegression(C=strength, max_iter=300).fit(scaled, targets)
    return found.coef_.T.astype(np.float32), found.intercept_.astype(np.float32)


def graph(weights: np.ndarray, bias: np.ndarray, hidden: int = 0) -> onnx.ModelProto:
    """image uint8 [N, 8, 8, 1] -> probabilities float32 [N, 10]. `hidden` identity layers of 64 only add latency."""
    constants = {"scale": np.float32(SCALE).reshape(1, 1, 1, 1), "weights": weights, "bias": bias}
    constants["mean"] = np.zeros((1, 1, 1, 1), np.float32)
    if hidden:
        constants["identity"] = np.eye(64, dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat0"]),
        *(helper.make_node("MatMul", [f"flat{i}", "identity"], [f"flat{i + 1}"]) for i in range(hidden)),
        helper.make_node("Gemm", [f"flat{hidden}", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    body = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def enter(folder: Path, patch: pytest.MonkeyPatch, changes: Mapping[str, Any] | None = None) -> Params:
    """Make `folder` the working directory, with data, an empty MLflow store and quick parameters, `changes` made."""
    patch.chdir(folder)
    patch.setenv("MLFLOW_TRACKING_URI", "")  # empty counts as unset
    shutil.copy(store(), "mlflow.db")
    mlflow.set_tracking_uri(location.uri())  # of this process; it sets the variable, which the patch reverts
    write_data()
    quick = {"evaluate.latency_seconds": 0.02, "evaluate.device": "cpu", "promote.latency_seconds": 0.02}
    return params.read(write_params(folder, {**quick, **(changes or {})}))


@cache
def store() -> Path:
    """An empty MLflow store, created once, as that takes two seconds."""
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    atexit.register(shutil.rmtree, path.parent)
    return path


def write_data() -> None:
    """Write artifacts/data as `prepare` does, in the working directory."""
    for name, (inputs, targets) in digits().items():
        folder = paths.split(name)
        folder.mkdir(parents=True)
        np.save(folder / "inputs.npy", inputs)
        np.save(folder / "targets.npy", targets)
    write_json(paths.SPEC, SPEC.to_dict())
    examples = {name: len(targets) for name, (_, targets) in digits().items()}
    classes = {name: dict.fromkeys(SPEC.labels, 1) for name in digits()}
    report = {"examples": examples, "classes": classes, "duplicates": {"train/test": 0}, "data_sha256": DATA}
    write_json(paths.DATA_REPORT / "validation.json", report)


def write_candidate(name: str, run_id: str | None = None, passed: bool = True, **shape: Any) -> None:
    """Write the outputs of `train` and `export` of one candidate; `shape` is `strength` and `hidden`."""
    write_training(name, run_id or uuid5(NAMESPACE_OID, name).hex)
    file = paths.exports(name) / "model.onnx"
    file.parent.mkdir(parents=True)
    model = graph(*fitted(shape.get("strength", 1.0)), shape.get("hidden", 0))
    file.write_bytes(model.SerializeToString())
    file.with_name("graph.svg").write_text(graph_svg.draw(finish(model, SPEC).graph, name), "utf-8")
    native = file.with_name(NATIVE_FILES["torch" if name.startswith("torch") else "keras"])
    native.write_bytes(name.encode())  # is only copied
    files = {"model.onnx": proof(file, passed), native.name: proof(native, passed)}
    parity = {"candidate": name, "temperature": 0.8, "examples": 270, "files": files}
    write_json(file.with_name("parity.json"), parity)


def write_int8(name: str, passed: bool = True) -> None:
    """Add the outputs of `export` for an int8 graph."""
    folder = paths.exports(name)
    model = finish(onnx.load(folder / "model.onnx"), SPEC)
    quantization.quantize(model, SPEC, digits()["train"][0][:100], folder / "model.int8.onnx")
    record = json.loads((folder / "parity.json").read_text("utf-8"))
    record["files"]["model.int8.onnx"] = proof(folder / "model.int8.onnx", passed)
    write_json(folder / "parity.json", record)


def proof(file: Path, passed: bool) -> dict[str, Any]:
    """The entry of a file in parity.json."""
    return {
        "passed": passed,
        "max_absolute_difference": 2.4e-7,
        "max_relative_difference": 1.1e-6,
        "nan_count": 0,
        "top1_agreement": 1.0,
        "accuracy_difference": 0.0,
        "accuracy_loss": 0.0,
        "opset": 20,
        "node_count": 6,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }


def write_training(name: str, run_id: str) -> None:
    """run.json, history.csv and layers.csv."""
    framework, architecture = name.split("-")
    record = {"run_id": run_id, "candidate": name, "framework": framework, "architecture": architecture}
    record |= {"device": "cpu", "precision": "float32", "seconds": 1.5, "parameters": 650}
    record |= {"epochs": 10, "best_epoch": 9, "stored_epoch": 10, "versions": {framework: "1.0"}}
    record |= {"params": {"data": {"source": "digits", "path": "data"}, "train": {"schedule": {"name": "cosine"}}}}
    write_json(
        paths.checkpoint(name) / "run.json",
        {**record, "git_commit": COMMIT, "git_dirty": False, "data_sha256": DATA},
    )
    epochs = np.arange(1, 11)
    pace = 0.3 + 0.02 * (len(architecture) + ord(framework[0]) - ord(architecture[0]))
    columns = {
        "epoch": epochs,
        "train_loss": 2.3 * np.exp(-1.1 * pace * epochs) + 0.02,
        "train_accuracy": 1 - 0.9 * np.exp(-1.3 * pace * epochs),
        "validation_loss": 2.3 * np.exp(-pace * epochs) + 0.05 + 0.002 * epochs,
        "validation_accuracy": 0.985 - 0.9 * np.exp(-1.2 * pace * epochs),
        "learning_rate": 0.003 / epochs,
        "examples_per_second": np.full(10, 9000.0),
        "gradient_norm": 1 / epochs,
    }
    text = "\n".join(",".join(str(value) for value in row) for row in zip(*columns.values(), strict=True))
    (paths.checkpoint(name) / "history.csv").write_text(",".join(columns) + "\n" + text + "\n", "utf-8")
    kinds = {"gradient_norm": ("dense_1", "logits"), "std": ("activation_1", "logits"), "dead": ("activation_1",)}
    rows = (f"{epoch},{kind},{layer},{1 / epoch}" for epoch in epochs for kind in kinds for layer in kinds[kind])
    text = "\n".join(("epoch,statistic,layer,value", *rows))
    (paths.checkpoint(name) / "layers.csv").write_text(text + "\n", "utf-8")


def write_metrics(name: str, accuracy: float, p50_ms: float = 1.0, test_accuracy: float = 0.9, **int8: Any) -> None:
    """Write the output of `evaluate` with these values; `int8` is `int8_accuracy`, `int8_p50_ms` and `faster`.

    Of two candidates the less accurate one classifies no example correctly that the other one does not.
    """
    found, outputs = metrics(accuracy, p50_ms, test_accuracy), {"model.onnx": validation_probabilities(accuracy)}
    if int8:
        copy = metrics(int8["int8_accuracy"], int8["int8_p50_ms"], test_accuracy)
        found["int8"] = {**copy, "faster": int8["faster"]}
        outputs["model.int8.onnx"] = validation_probabilities(int8["int8_accuracy"])
    write_json(paths.metrics(name), found)
    path = paths.validation_outputs(name)
    path.parent.mkdir(exist_ok=True)
    validation_outputs.write(outputs, path)
    write_json(paths.errors(name), {"examples": 270, "misclassified": 1, "worst": [WORST]})


def validation_probabilities(accuracy: float) -> np.ndarray:
    """Probabilities float32 [N, 10] of which the first ones are for a wrong class."""
    targets = digits()["validation"][1]
    wrong = np.arange(len(targets)) < round((1 - accuracy) * len(targets))
    return np.where(np.eye(10, dtype=bool)[(targets + wrong) % 10], 0.91, 0.01).astype(np.float32)


def metrics(accuracy: float, p50_ms: float, test_accuracy: float) -> dict[str, Any]:
    """The metrics of one graph."""
    test = {"accuracy": test_accuracy, "accuracy_low": test_accuracy - 0.02, "accuracy_high": test_accuracy + 0.02}
    times = {"p50_ms": p50_ms, "p90_ms": 1.2 * p50_ms, "p99_ms": 2 * p50_ms, "calls": 100, "examples_per_second": 1000}
    larger = {**{key: 20 * value for key, value in times.items()}, "p99_ms": None, "calls": 10}
    return {
        "provider": "CPUExecutionProvider",
        "validation": {"accuracy": accuracy, "balanced_accuracy": accuracy, "macro_f1": accuracy, "log_loss": 0.1},
        "test": {**test, "log_loss": 0.2, "calibration_error": 0.012, "calibration_error_uncalibrated": 0.054},
        "latency": {"batch_256": larger, "batch_1": times},
        "model": {"bytes": 3000},
    }


def write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), "utf-8")
