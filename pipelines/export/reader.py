"""Predictions of one exported file in its own runtime, in a process that imports no other framework.

`python -m pipelines.export.reader NAME` imports the runtime of files called NAME and waits for a line with four paths
as a JSON list: FILE, SPEC, INPUTS, OUTPUTS. It writes the outputs [batches, N, K] of FILE for the raw examples in
INPUTS (.npy) to OUTPUTS (.npy). The model is defined by the file alone: no code of `models.torch` or `models.keras`.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.config import Framework
from models.export_formats import EXPORTED_PROGRAM, INT8, KERAS, LITERT, ONNX, SAVED_MODEL
from models.interfaces import Predict
from models.spec import DataSpec
from pipelines.cli import stage
from pipelines.export.batch_sizes import predict_in_all_sizes

FRAMEWORKS = {"torch", "tensorflow", "keras", "models.torch", "models.keras"}
OpenFile = Callable[[Path, DataSpec], Predict]


def main() -> None:
    """Predict and write the outputs. Raises RuntimeError if a framework was imported that is not the file's runtime."""
    reader = READERS[sys.argv[1]]
    open_file = reader.prepare()
    if not (line := sys.stdin.readline()):
        return  # the file was not written
    file, spec, inputs, outputs = map(Path, json.loads(line))
    predictions = predict_in_all_sizes(open_file(file, DataSpec.read(spec)), np.load(inputs, mmap_mode="r"))
    if others := {name for name in FRAMEWORKS - reader.imports if sys.modules.get(name)}:
        raise RuntimeError(f"the file needs {', '.join(sorted(others))}")
    np.save(outputs, predictions)


def onnx_runtime() -> OpenFile:
    """ONNX Runtime, for ONNX graphs."""
    from models.session import open_session
    from pipelines.inference import onnx_runtime

    return lambda file, _spec: partial(onnx_runtime.run, open_session(file, "cpu"))


def litert() -> OpenFile:
    """LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    def open_file(file: Path, spec: DataSpec) -> Predict:
        serve = Interpreter(str(file), num_threads=1).get_signature_runner("serve")
        return lambda raw: np.asarray(serve(**{spec.input_name: raw})[spec.output_name])

    return open_file


def tensorflow() -> OpenFile:
    """TensorFlow, for a SavedModel, without Keras, which it imports if installed."""
    sys.modules["keras"] = None  # type: ignore[assignment]  # makes its import fail
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # as for the trained model

    def open_file(file: Path, spec: DataSpec) -> Predict:
        model = tf.saved_model.load(str(file))

        def predict(raw: np.ndarray, _owner: object = model) -> np.ndarray:
            return np.asarray(model.signatures["serve"](tf.constant(raw))[spec.output_name])

        return predict

    return open_file


def keras() -> OpenFile:
    """Keras, for a .keras file, whose outputs are logits or standardised targets."""
    import keras
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # as for the trained model

    def open_file(file: Path, spec: DataSpec) -> Predict:
        model = keras.saving.load_model(file)
        # Compiled once for all batch sizes; calling layer by layer is ten times slower.
        signature = [tf.TensorSpec((None, *spec.shape), spec.dtype)]
        run = tf.function(lambda raw: model(raw, training=False), input_signature=signature)
        if spec.is_classification:
            return lambda raw: np.asarray(keras.ops.softmax(run(raw)))
        return lambda raw: np.asarray(run(raw)) * np.float32(spec.target_std) + np.float32(spec.target_mean)

    return open_file


def torch() -> OpenFile:
    """torch, for an exported program."""
    import torch
    import torch.export.pt2_archive  # otherwise imported by `load`, which takes seconds

    def open_file(file: Path, _spec: DataSpec) -> Predict:
        program = torch.export.load(file).module()

        @torch.no_grad()
        def predict(raw: np.ndarray) -> np.ndarray:
            return np.asarray(program(torch.from_numpy(raw)))

        return predict

    return open_file


class Reader(NamedTuple):
    """The runtime of files of one name: `prepare` imports it, and none of FRAMEWORKS but `imports`.

    `frameworks` are those whose models are exported to such a file.
    """

    prepare: Callable[[], OpenFile]
    imports: frozenset[str]
    frameworks: frozenset[Framework]


# Ordered by start-up time, longest first.
READERS = {
    KERAS: Reader(keras, frozenset({"keras", "tensorflow"}), frozenset({"keras"})),
    SAVED_MODEL: Reader(tensorflow, frozenset({"tensorflow"}), frozenset({"keras"})),
    EXPORTED_PROGRAM: Reader(torch, frozenset({"torch"}), frozenset({"torch"})),
    LITERT: Reader(litert, frozenset(), frozenset({"keras"})),
    ONNX: Reader(onnx_runtime, frozenset(), frozenset({"keras", "torch"})),
    INT8: Reader(onnx_runtime, frozenset(), frozenset({"keras", "torch"})),
}


if __name__ == "__main__":
    stage.run(main)
