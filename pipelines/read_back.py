"""One exported file in its own runtime, in a process that has no framework besides.

`python -m pipelines.read_back FILE SPEC INPUTS OUTPUTS` asks FILE about the raw examples in INPUTS (.npy) and writes
[batches, N, K] to OUTPUTS (.npy). Here nothing but the file says what the model is: no code of ours, no weights.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.spec import DataSpec
from pipelines import stage
from pipelines.batched import Predict, predict_in_all_sizes

FRAMEWORKS = {"torch", "tensorflow", "keras", "models.torch", "models.keras"}


def main() -> None:
    """Load, ask, write. Raises RuntimeError where a framework was imported that is not the file's runtime."""
    file, spec, inputs, outputs = (Path(argument) for argument in sys.argv[1:])
    open_file, own = READERS[file.name]
    found = predict_in_all_sizes(open_file(file, DataSpec.read(spec)), np.load(inputs, mmap_mode="r"))
    if others := {name for name in FRAMEWORKS - own if sys.modules.get(name)}:
        raise RuntimeError(f"it needed {', '.join(sorted(others))}")
    np.save(outputs, found)


def in_onnx_runtime(file: Path, _spec: DataSpec) -> Predict:
    """An ONNX graph in ONNX Runtime."""
    from pipelines import runtime

    return partial(runtime.run, runtime.open_session(file, "cpu"))


def in_litert(file: Path, spec: DataSpec) -> Predict:
    """A LiteRT file in LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    serve = Interpreter(str(file), num_threads=1).get_signature_runner("serve")
    return lambda raw: np.asarray(serve(**{spec.input_name: raw})[spec.output_name])


def in_tensorflow(file: Path, spec: DataSpec) -> Predict:
    """A SavedModel in TensorFlow, which imports Keras where it finds it: here it is as if it were not installed."""
    sys.modules["keras"] = None  # type: ignore[assignment]  # this makes an import of it fail
    import tensorflow as tf

    model = tf.saved_model.load(str(file))

    def predict(raw: np.ndarray, _owner: Any = model) -> np.ndarray:
        return np.asarray(model.signatures["serve"](tf.constant(raw))[spec.output_name])

    return predict


def in_keras(file: Path, spec: DataSpec) -> Predict:
    """A .keras file in Keras. It gives what the model learned: logits, or a target with mean 0 and deviation 1."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(file)
    # Compiled once for all batch sizes: called layer by layer, it would be ten times as slow.
    signature = [tf.TensorSpec((None, *spec.shape), spec.dtype)]
    run = tf.function(lambda raw: model(raw, training=False), input_signature=signature)
    if spec.task == "classification":
        return lambda raw: np.asarray(keras.ops.softmax(run(raw)))
    return lambda raw: np.asarray(run(raw)) * np.float32(spec.target_std) + np.float32(spec.target_mean)


def in_torch(file: Path, _spec: DataSpec) -> Predict:
    """An exported program in torch."""
    import torch

    program = torch.export.load(file).module()

    @torch.no_grad()
    def predict(raw: np.ndarray) -> np.ndarray:
        return np.asarray(program(torch.from_numpy(raw)))

    return predict


# What opens a file of this name, and which frameworks that may import; those first that take longest to start.
READERS = {
    "model.keras": (in_keras, {"keras", "tensorflow"}),
    "saved_model": (in_tensorflow, {"tensorflow"}),
    "model.pt2": (in_torch, {"torch"}),
    "model.tflite": (in_litert, set[str]()),
    "model.onnx": (in_onnx_runtime, set[str]()),
    "model.int8.onnx": (in_onnx_runtime, set[str]()),
}


if __name__ == "__main__":
    stage.run(main)
