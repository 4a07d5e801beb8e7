"""The served models: a convolutional network for 28x28 images, built here, and the pipeline's champion."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.serving.peers.model import Session, open_session
from models.manifest import MANIFEST
from models.spec import DataSpec
from serving.inference import bundle

FASHION = DataSpec(
    "fashion_mnist", "classification", "image", (28, 28, 1), "uint8",
    ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"),
    "label", (), (73.0,), (90.0,),
)  # fmt: skip
CHANNELS = (32, 64)
DENSE = 128


@dataclass(frozen=True)
class Served:
    """A champion's folder and its content."""

    folder: Path
    model: Path
    spec: DataSpec

    def session(self) -> Session:
        """The session that every server opens."""
        return open_session(self.model)

    def expected(self, images: np.ndarray) -> np.ndarray:
        """ONNX Runtime's own answer to uint8 [N, H, W, C]: float32 [N, K]."""
        outputs: np.ndarray = self.session().run([self.spec.output_name], {self.spec.input_name: images})[0]
        return outputs


def read(folder: Path) -> Served:
    """The champion in `folder`. Raises InputError where there is none."""
    found = bundle.read(folder)
    return Served(folder, folder / found.manifest.model.file, found.spec)


def make_fashion(folder: Path) -> Served:
    """A champion for 28x28 images: the pipeline's `cnn` with its default widths and random weights.

    The duration does not depend on the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = _graph(FASHION).SerializeToString()
    sha256 = hashlib.sha256(model).hexdigest()
    path = folder / f"{sha256}.onnx"
    path.write_bytes(model)
    served = Served(folder, path, FASHION)
    images = pictures(FASHION, 2)
    manifest = {
        "schema": 1,
        "name": "torch-cnn",
        "version": "1",
        "model": {"file": path.name, "sha256": sha256, "bytes": len(model)},
        "spec": FASHION.to_dict(),
        "metrics": {},
        "provenance": dict.fromkeys(("run_id", "git_commit", "data_sha256", "created"), "") | {"git_dirty": False},
        "example": {"inputs": images.tolist(), "outputs": served.expected(images).tolist()},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return served


def pictures(spec: DataSpec, count: int, seed: int = 0) -> np.ndarray:
    """Images uint8 [count, H, W, C]: a bright random blob on black, about as dense as a garment or a digit."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *spec.shape), np.uint8)
    margin = spec.shape[0] // 5
    images[:, :margin] = images[:, -margin:] = images[:, :, :margin] = images[:, :, -margin:] = 0
    return images


def _graph(spec: DataSpec) -> onnx.ModelProto:
    """Scale, two stages of convolution and maximum, two dense layers, softmax: what `models.torch.cnn` exports."""
    constants = _constants(spec)
    nodes = [
        helper.make_node("Cast", [spec.input_name], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "factor"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["stage_0"], perm=[0, 3, 1, 2]),
    ]
    for stage in range(1, len(CHANNELS) + 1):
        nodes += [
            helper.make_node(
                "Conv",
                [f"stage_{stage - 1}", f"kernel_{stage}", f"bias_{stage}"],
                [f"conv_{stage}"],
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
            ),
            helper.make_node("Relu", [f"conv_{stage}"], [f"relu_{stage}"]),
            helper.make_node("MaxPool", [f"relu_{stage}"], [f"stage_{stage}"], kernel_shape=[2, 2], strides=[2, 2]),
        ]
    nodes += [
        helper.make_node("Transpose", [f"stage_{len(CHANNELS)}"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["last"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["hidden_relu"]),
        helper.make_node("Gemm", ["hidden_relu", "head", "head_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [spec.output_name], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info(spec.input_name, TensorProto.UINT8, ["N", *spec.shape])],
        [helper.make_tensor_value_info(spec.output_name, TensorProto.FLOAT, ["N", spec.outputs])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _constants(spec: DataSpec) -> dict[str, np.ndarray]:
    """Random weights (He et al., arXiv:1502.01852), so that the outputs neither vanish nor saturate."""
    generator = np.random.default_rng(0)

    def weights(*shape: int, inputs: int) -> np.ndarray:
        values: np.ndarray = generator.normal(size=shape) * np.sqrt(2 / inputs)
        return values.astype(np.float32)

    height, width, before = spec.shape
    constants: dict[str, np.ndarray] = {"factor": np.full((1, 1, 1, 1), 1 / 255, np.float32)}
    for stage, channels in enumerate(CHANNELS, 1):
        constants[f"kernel_{stage}"] = weights(channels, before, 3, 3, inputs=9 * before)
        constants[f"bias_{stage}"] = np.zeros(channels, np.float32)
        before, height, width = channels, height // 2, width // 2
    size = height * width * before
    return constants | {
        "dense": weights(size, DENSE, inputs=size),
        "dense_bias": np.zeros(DENSE, np.float32),
        "head": weights(DENSE, spec.outputs, inputs=DENSE),
        "head_bias": np.zeros(spec.outputs, np.float32),
    }
