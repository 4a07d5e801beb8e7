"""One model in one runtime: a function from raw images to probabilities, on a number of threads.

Each function imports its runtime, so a process is to use one of them. Files are read by code of the runtime alone.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.export_formats import EXPORTED_PROGRAM, INT8, KERAS, LITERT, ONNX, SAVED_MODEL
from models.interfaces import Predict
from models.spec import DataSpec
from pipelines.artifacts import paths
from pipelines.config import params
from pipelines.execution.candidate import Candidate


def onnx_runtime(file: Path, spec: DataSpec, threads: int) -> Predict:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait actively would take the time of the runtime that is measured next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda raw: np.asarray(session.run([spec.output_name], {spec.input_name: raw})[0])


def openvino(file: Path, _spec: DataSpec, threads: int) -> Predict:
    """OpenVINO on the CPU in float32; it would use bfloat16 where the processor has instructions for it."""
    import openvino  # of the dependency group `benchmarks`

    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = openvino.Core().compile_model(str(file), "CPU", options)
    request, output = compiled.create_infer_request(), compiled.output(0)
    return lambda raw: np.array(request.infer([raw])[output])


def litert(file: Path, spec: DataSpec, threads: int) -> Predict:
    """LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(file), num_threads=threads).get_signature_runner("serve")
    return lambda raw: np.asarray(run(**{spec.input_name: raw})[spec.output_name])


def saved_model(file: Path, spec: DataSpec, threads: int) -> Predict:
    """TensorFlow, for a SavedModel."""
    tf = _tensorflow(threads)
    model = tf.saved_model.load(str(file))
    run = model.signatures["serve"]
    return lambda raw, _owner=model: np.asarray(run(tf.constant(raw))[spec.output_name])  # type: ignore[misc]


def keras(file: Path, spec: DataSpec, threads: int) -> Predict:
    """Keras, for a .keras file, which gives logits."""
    tf = _tensorflow(threads)
    import keras

    return _tf_function(tf, keras.saving.load_model(file), spec)


def exported_program(file: Path, _spec: DataSpec, threads: int) -> Predict:
    """PyTorch, for a program of torch.export."""
    torch = _torch(threads)
    return _torch_predict(torch, torch.export.load(file).module())


def torch_eager(_file: Path, spec: DataSpec, threads: int) -> Predict:
    """The trained model in PyTorch, eager."""
    torch = _torch(threads)
    from models.torch.export import Served

    return _torch_predict(torch, Served(_trained("torch", spec), spec).eval())


def tf_function(_file: Path, spec: DataSpec, threads: int) -> Predict:
    """The trained model in Keras, compiled by `tf.function`."""
    tf = _tensorflow(threads)
    return _tf_function(tf, _trained("keras", spec), spec)


def _torch(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    return torch


def _torch_predict(torch: Any, model: Any) -> Predict:
    def predict(raw: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(raw)))

    return predict


def _tensorflow(threads: int) -> Any:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def _tf_function(tf: Any, model: Any, spec: DataSpec) -> Predict:
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype)]
    run = tf.function(lambda raw: tf.nn.softmax(model(raw, training=False)), input_signature=signature)
    return lambda raw, _owner=model: run(tf.constant(raw)).numpy()  # type: ignore[misc]


def _trained(framework: Any, spec: DataSpec) -> Any:
    """The model of the checkpoint in the working directory, with its logits divided by the temperature."""
    from pipelines.artifacts import records
    from pipelines.export.__main__ import divide_logits, load_model

    chosen = Candidate(framework, "cnn")
    model = load_model(chosen, params.read().models.cnn, spec)
    if (temperature := records.temperature(chosen.name)) is not None:
        divide_logits(chosen, model, temperature)
    return model


Open = Callable[[Path, DataSpec, int], Predict]
# Title, candidate, file, runtime; the first one of a candidate gives the outputs that the others are compared with.
RUNTIMES: Mapping[str, tuple[str, str, Open]] = {
    "torch, eager": ("torch-cnn", "", torch_eager),
    "torch.export, .pt2": ("torch-cnn", EXPORTED_PROGRAM, exported_program),
    "ONNX Runtime": ("torch-cnn", ONNX, onnx_runtime),
    "ONNX Runtime, int8": ("torch-cnn", INT8, onnx_runtime),
    "OpenVINO": ("torch-cnn", ONNX, openvino),
    "OpenVINO, int8": ("torch-cnn", INT8, openvino),
    "TensorFlow, tf.function": ("keras-cnn", "", tf_function),
    "TensorFlow, SavedModel": ("keras-cnn", SAVED_MODEL, saved_model),
    "Keras, .keras": ("keras-cnn", KERAS, keras),
    "LiteRT": ("keras-cnn", LITERT, litert),
    "ONNX Runtime, from Keras": ("keras-cnn", ONNX, onnx_runtime),
}


def open_runtime(name: str, threads: int) -> Predict:
    """A runtime of RUNTIMES with the files in the working directory."""
    candidate, file, function = RUNTIMES[name]
    return function(paths.exports(candidate) / file, DataSpec.read(paths.SPEC), threads)
