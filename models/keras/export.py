"""The graph that is served, and Keras' own formats."""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from models.graph import finish
from models.keras.layers import unscale
from models.spec import DataSpec

OPSET = 18  # the newest that tf2onnx writes


def served(model: keras.Model, spec: DataSpec) -> Any:
    """A trained model with softmax, or with the target's unit, as a function of raw [N, *shape].

    It gives {name: probabilities float32 [N,K] or predictions [N,1]}.
    """
    activation = tf.nn.softmax if spec.task == "classification" else partial(unscale, spec)
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype, name=spec.input_name)]

    @tf.function(input_signature=signature)
    def serve(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return {spec.output_name: activation(model(raw, training=False))}

    return serve


def export(model: keras.Model, spec: DataSpec, folder: Path) -> None:
    """Write `model.onnx`, `saved_model/` and `model.keras` (logits) into an existing folder."""
    model.save(folder / "model.keras")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", served(model, spec))
    with contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(folder / "saved_model"), verbose=False)
    onnx.save(to_onnx(model, spec), folder / "model.onnx")


def to_onnx(model: keras.Model, spec: DataSpec) -> onnx.ModelProto:
    """The ONNX graph with the names of the spec, a dynamic batch `N` and weights inline."""
    function = served(model, spec)
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype, name=spec.input_name)]
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return finish(proto, spec)


def predictors(model: keras.Model, spec: DataSpec, folder: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The trained model as `trained`, and Keras' exported files by their names, as functions of a raw batch."""
    saved = tf.saved_model.load(str(folder / "saved_model"))
    loaded = keras.models.load_model(folder / "model.keras")
    return {
        "trained": _function(model, served(model, spec), spec),
        "saved_model": _function(saved, saved.serve, spec),
        "model.keras": _function(loaded, served(loaded, spec), spec),
    }


def _function(owner: Any, serve: Any, spec: DataSpec) -> Callable[[np.ndarray], np.ndarray]:
    """`serve` on NumPy arrays. TensorFlow's functions do not keep the `owner` of their variables alive."""

    def predict(raw: np.ndarray, _owner: Any = owner) -> np.ndarray:
        outputs: np.ndarray = serve(tf.constant(raw))[spec.output_name].numpy()
        return outputs

    return predict
