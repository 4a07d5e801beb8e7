"""Small champion bundles: ONNX graphs with fixed random weights, and their NumPy equivalent."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import TensorProto, helper, numpy_helper

from models.spec import DataSpec

DIGITS = DataSpec(
    "digits", "classification", "image", (8, 8, 1), "uint8", tuple("0123456789"), "digit", (), (77.0,), (96.0,)
)
IRIS = DataSpec(
    "iris", "classification", "tabular", (4,), "float32", ("setosa", "versicolor", "virginica"), "species",
    ("sepal length", "sepal width", "petal length", "petal width"), (5.8, 3.1, 3.8, 1.2), (0.8, 0.4, 1.8, 0.8),
    ((),) * 4, (None,) * 4,
)  # fmt: skip
HOUSES = DataSpec(
    "houses", "regression", "tabular", (3,), "float32", (), "price",
    ("size", "colour", "sold"), (100.0, 0.0, 0.0), (20.0, 1.0, 1.0),
    ((), ("blue", "green", "red"), ("false", "true")), (95.0, -1.0, -1.0), 1000.0, 250.0,
)  # fmt: skip
PEM = serialization.Encoding.PEM
PRICES = replace(IRIS, name="prices", task="regression", labels=(), target="price")


@dataclass(frozen=True)
class Weights:
    """A linear layer over the flattened and scaled inputs."""

    spec: DataSpec
    kernel: np.ndarray  # [features, outputs]
    bias: np.ndarray  # [outputs]

    def expected(self, inputs: np.ndarray) -> np.ndarray:
        """The expected outputs of the graph, in NumPy: float32 [N, outputs]."""
        scale = np.float32(1 / 255 if self.spec.kind == "image" else 1)
        if any(self.spec.fill):
            inputs = np.where(np.isnan(inputs), np.float32(self.spec.fill), inputs)
        logits = (inputs.astype(np.float32) * scale).reshape(len(inputs), -1) @ self.kernel + self.bias
        if not self.spec.is_classification:
            return logits
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def weights(spec: DataSpec, seed: int = 0) -> Weights:
    generator = np.random.default_rng(seed)
    size = int(np.prod(spec.shape))
    kernel = generator.normal(size=(size, spec.outputs)).astype(np.float32)
    return Weights(spec, kernel, generator.normal(size=spec.outputs).astype(np.float32))


def graph(of: Weights) -> bytes:
    """The content of an ONNX file: Cast or Where, Mul, Flatten, Gemm, and Softmax for a classifier."""
    spec = of.spec
    rank = len(spec.shape)
    scale = np.full((1,) * (rank + 1), 1 / 255 if spec.kind == "image" else 1, np.float32)
    constants = {"scale": scale, "kernel": of.kernel, "bias": of.bias}
    nodes = [helper.make_node("Cast", [spec.input_name], ["cast"], to=TensorProto.FLOAT)]
    if any(spec.fill):
        constants["fill"] = np.float32([spec.fill])
        nodes = [
            helper.make_node("IsNaN", [spec.input_name], ["missing"]),
            helper.make_node("Where", ["missing", "fill", spec.input_name], ["cast"]),
        ]
    nodes += [
        helper.make_node("Mul", ["cast", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
    ]
    logits = "logits" if spec.is_classification else spec.output_name
    nodes += [helper.make_node("Gemm", ["flat", "kernel", "bias"], [logits])]
    if spec.is_classification:
        nodes += [helper.make_node("Softmax", ["logits"], [spec.output_name], axis=1)]
    kind = TensorProto.UINT8 if spec.dtype == "uint8" else TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "fixture",
        [helper.make_tensor_value_info(spec.input_name, kind, ["N", *spec.shape])],
        [helper.make_tensor_value_info(spec.output_name, TensorProto.FLOAT, ["N", spec.outputs])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def onnx_outputs(spec: DataSpec, inputs: np.ndarray) -> np.ndarray:
    """What ONNX Runtime computes for raw examples."""
    session = onnxruntime.InferenceSession(graph(weights(spec)), providers=["CPUExecutionProvider"])
    outputs: np.ndarray = session.run(None, {spec.input_name: inputs})[0]
    return outputs


def raw(spec: DataSpec, count: int, seed: int = 1) -> np.ndarray:
    """Raw examples [count, *shape] in the spec's dtype."""
    generator = np.random.default_rng(seed)
    if spec.dtype == "uint8":
        return generator.integers(0, 256, (count, *spec.shape), np.uint8)
    rows = generator.normal(size=(count, *spec.shape)).astype(np.float32)
    for place, names in enumerate(spec.categories):
        if names:
            rows[:, place] = generator.integers(0, len(names), count)
    return rows


def manifest(of: Weights, model: bytes, version: str) -> dict[str, Any]:
    example = raw(of.spec, 3)
    sha256 = hashlib.sha256(model).hexdigest()
    return {
        "schema": 1,
        "name": "torch-cnn",
        "version": version,
        "model": {"file": f"{sha256}.onnx", "sha256": sha256, "bytes": len(model)},
        "spec": of.spec.to_dict(),
        "metrics": {"accuracy": 0.98, "log_loss": 0.07},
        "provenance": {
            "run_id": "0123456789abcdef0123456789abcdef",
            "git_commit": "f626b23",
            "git_dirty": False,
            "data_sha256": "ab" * 32,
            "tracking_uri": "sqlite:///mlflow.db",
            "experiment": "tandem",
            "created": "2026-11-22T12:00:00+00:00",
        },
        "example": {"inputs": example.tolist(), "outputs": of.expected(example).tolist()},
    }


def write(folder: Path, of: Weights, version: str = "1", **changes: Any) -> Path:
    """Write a bundle as `promote` does: the manifest last, by renaming it."""
    model = graph(of)
    content = manifest(of, model, version) | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{hashlib.sha256(model).hexdigest()}.onnx").write_bytes(model)
    beside = folder / "champion.json.new"
    beside.write_text(json.dumps(content), "utf-8")
    beside.replace(folder / "champion.json")
    return folder


def write_keys(folder: Path, private: str, public: str) -> None:
    """Write a new pair of keys for signatures."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding = PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / private).write_bytes(key.private_bytes(*encoding))
    subject = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / public).write_bytes(key.public_key().public_bytes(PEM, subject))
