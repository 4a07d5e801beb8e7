"""One exported file in its own runtime, in a process that has no framework besides.

`python -m pipelines.export.reader NAME` imports what opens files called NAME, and waits for a line with four paths
as a JSON list: FILE, SPEC, INPUTS, OUTPUTS. It asks FILE about the raw examples in INPUTS (.npy) and writes
[batches, N, K] to OUTPUTS (.npy). Here nothing but the file says what the model is: no code of ours, no weights.
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
Open = Callable[[Path, DataSpec], Predict]


def main() -> None:
    """Load, ask, write. Raises RuntimeError where a framework was imported that is not the file's runtime."""
    reader = READERS[sys.argv[1]]
    open_file = reader.prepare()
    if not (line := sys.stdin.readline()):
        return  # there is no such file after all
    file, spec, inputs, outputs = map(Path, json.loads(line))
    found = predict_in_all_sizes(open_file(file, DataSpec.read(spec)), np.load(inputs, mmap_mode="r"))
    if others := {name for name in FRAMEWORKS - reader.imports if sys.modules.get(name)}:
        raise RuntimeError(f"it needed {', '.join(sorted(others))}")
    np.save(outputs, found)


def onnx_runtime() -> Open:
    """ONNX Runtime, for ONNX graphs."""
    from models.session import open_session
    from pipelines.inference import onnx_runtime

    return lambda file, _spec: partial(onnx_runtime.run, open_session(file, "cpu"))


def litert() -> Open:
    """LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    def open_file(file: Path, spec: DataSpec) -> Predict:
        serve = Interpreter(str(file), num_threads=1).get_signature_runner("serve")
        return lambda raw: np.asarray(serve(**{spec.input_name: raw})[spec.output_name])

    return open_file


def tensorflow() -> Open:
    """TensorFlow, for a SavedModel. It imports Keras where it finds it: here it is as if it were not installed."""
    sys.modules["keras"] = None  # type: ignore[assignment]  # this makes an import of it fail
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # like the model that the file is compared with

    def open_file(file: Path, spec: DataSpec) -> Predict:
        model = tf.saved_model.load(str(file))

        def predict(raw: np.ndarray, _owner: object = model) -> np.ndarray:
            return np.asarray(model.signatures["serve"](tf.constant(raw))[spec.output_name])

        return predict

    return open_file


def keras() -> Open:
    """Keras, for a .keras file. It gives what the model learned: logits, or a target with mean 0 and deviation 1."""
    import keras
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # like the model that the file is compared with

    def open_file(file: Path, spec: DataSpec) -> Predict:
        model = keras.saving.load_model(file)
        # Compiled once for all batch sizes: called layer by layer, it would be ten times as slow.
        signature = [tf.TensorSpec((None, *spec.shape), spec.dtype)]
        run = tf.function(lambda raw: model(raw, training=False), input_signature=signature)
        if spec.is_classification:
            return lambda raw: np.asarray(keras.ops.softmax(run(raw)))
        return lambda raw: np.asarray(run(raw)) * np.float32(spec.target_std) + np.float32(spec.target_mean)

    return open_file


def torch() -> Open:
    """torch, for an exported program."""
    import torch
    import torch.export.pt2_archive  # else `load` imports it, which takes seconds

    def open_file(file: Path, _spec: DataSpec) -> Predict:
        program = torch.export.load(file).module()

        @torch.no_grad()
        def predict(raw: np.ndarray) -> np.ndarray:
            return np.asarray(program(torch.from_numpy(raw)))

        return predict

    return open_file


class Reader(NamedTuple):
    """What opens files of one name: `prepare` imports it, and nothing of FRAMEWORKS but `imports`.

    `of` are the frameworks whose models have such a file.
    """

    prepare: Callable[[], Open]
    imports: frozenset[str]
    of: frozenset[Framework]


# Those first that take longest to start.
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
