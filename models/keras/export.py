"""The graph that is served, and Keras' own formats."""

import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef

from models.export_formats import KERAS, LITERT, ONNX, SAVED_MODEL
from models.interfaces import Predict
from models.keras.layers import fused_batch_normalization, replaced, unscale
from models.onnx.graph import finish
from models.spec import DataSpec

OPSET = 18  # the newest that tf2onnx writes


def served(model: keras.Model, spec: DataSpec) -> Any:
    """A trained model with softmax, or with the target's unit, as a function of raw [N, *shape].

    It gives {name: probabilities float32 [N,K] or predictions [N,1]}.
    """
    activation = tf.nn.softmax if spec.is_classification else partial(unscale, spec)
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype, name=spec.input_name)]

    @tf.function(input_signature=signature)
    def serve(raw: tf.Tensor) -> dict[str, tf.Tensor]:
        return {spec.output_name: activation(model(raw, training=False))}

    return serve


def export(model: keras.Model, spec: DataSpec, folder: Path) -> None:
    """Write `model.onnx`, `saved_model/`, `model.tflite` and `model.keras` (logits) into an existing folder."""
    functional(model, spec).save(folder / KERAS)
    _make_reproducible(folder / KERAS)
    _write_saved_model(model, spec, folder / SAVED_MODEL)
    (folder / LITERT).write_bytes(to_litert(folder / SAVED_MODEL))
    onnx.save(to_onnx(model, spec), folder / ONNX)


def _make_reproducible(path: Path) -> None:
    """Rewrite a `.keras` file without times, and with shared objects numbered in their order, not by their address."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    numbers: dict[int, int] = {}

    def renumber(value: dict[str, Any]) -> dict[str, Any]:
        if (address := value.get("shared_object_id")) is not None:
            value["shared_object_id"] = numbers.setdefault(address, len(numbers))
        return value

    entries["config.json"] = json.dumps(json.loads(entries["config.json"], object_hook=renumber)).encode()
    entries["metadata.json"] = json.dumps({"keras_version": keras.__version__}).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name), content)


def _write_saved_model(model: keras.Model, spec: DataSpec, folder: Path) -> None:
    """Write the signature `serve` and its variables, with the same bytes in every process.

    Keras' ExportArchive stores each variable twice, in an order that varies, and the states of random generators.
    """
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.serve = served(model, spec)
    tf.saved_model.save(module, str(folder), {"serve": module.serve, "serving_default": module.serve})
    path = folder / "fingerprint.pb"
    fingerprint = FingerprintDef.FromString(path.read_bytes())
    fingerprint.ClearField("uuid")  # random
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def functional(model: keras.Model, spec: DataSpec) -> keras.Model:
    """The same layers as a functional model, if its class is one of ours: Keras loads it without code of ours."""
    if type(model).__module__.startswith("keras."):
        return model
    raw = keras.Input(spec.shape, dtype=spec.dtype, name=spec.input_name)
    return keras.Model(raw, model.call(raw), name=model.name)


def to_litert(saved_model: Path) -> bytes:
    """A SavedModel for LiteRT, in float32, with its signature `serve`.

    From a Keras model or a function, the converter would silently omit the weights.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serve"], tags={"serve"})
    return bytes(converter.convert())


def to_onnx(model: keras.Model, spec: DataSpec) -> onnx.ModelProto:
    """The ONNX graph with the names of the spec, a dynamic batch `N` and weights inline."""
    function = served(model, spec)
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype, name=spec.input_name)]
    handlers: dict[str, tuple[Callable[..., None], list[str]]] = {"Erfc": (_erfc, [])}
    # With Keras' own batch normalisation, ONNX Runtime would compute each product separately, in another layout.
    with replaced(fused_batch_normalization(model, training=False)):
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=signature, opset=OPSET, custom_op_handlers=handlers
        )
    return finish(proto, spec)


def _erfc(context: Any, node: Any, name: str, _: list[str]) -> None:
    """TensorFlow's erfc(x), which is in `gelu` and unknown to ONNX, as 1 - erf(x). A handler of tf2onnx."""
    one = context.make_const(f"{name}_one", np.ones([1] * len(context.get_shape(node.output[0])), np.float32))
    shapes, dtypes = node.output_shapes, node.output_dtypes
    context.remove_node(name)
    erf = context.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=node.output, shapes=shapes, dtypes=dtypes
    )


def predictor(model: keras.Model, spec: DataSpec) -> Predict:
    """The trained model as a function of a raw batch [N, *shape] to logits [N, K], or standardised targets [N, 1]."""
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype)]
    run = tf.function(lambda raw: model(raw, training=False), input_signature=signature)

    # TensorFlow's functions do not keep the owner of their variables alive.
    def predict(raw: np.ndarray, _owner: keras.Model = model) -> np.ndarray:
        outputs: np.ndarray = run(tf.constant(raw)).numpy()
        return outputs

    return predict
