"""Predictions of exported files in their own runtime, in a process that imports no other framework.

The model is defined by the file alone: no code of `models.torch` or `models.keras`.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.config import Framework
from models.errors import one_line
from models.export_formats import EXPORTED_PROGRAM, INT8, KERAS, LITERT, ONNX, SAVED_MODEL
from models.interfaces import Predict
from models.spec import DataSpec
from pipelines.execution.optional_imports import EXTRAS_OF_KERAS, hidden
from pipelines.export.batch_sizes import predict_in_all_sizes

FRAMEWORKS = {"torch", "tensorflow", "keras", "models.torch", "models.keras"}
OpenFile = Callable[[Path, DataSpec], Predict]


def serve(connection: Connection, names: Sequence[str]) -> None:
    """Import the runtimes of files called `names`, and answer requests (file, spec, inputs) until there are no more.

    `spec` is the path of a spec.json, `inputs` that of a .npy file of raw examples. The answer is the outputs
    [batches, N, K] or the reason for having none.
    """
    _silence()
    prepared: dict[str, OpenFile] = {}
    for name in names:
        with suppress(ImportError):  # it is raised again, and answered, where such a file is read
            prepared[name] = READERS[name].prepare()
    with suppress(EOFError):
        while True:
            file, spec, inputs = connection.recv()
            connection.send(_answer(prepared, file, spec, inputs))


def _answer(prepared: Mapping[str, OpenFile], file: Path, spec: Path, inputs: Path) -> np.ndarray | str:
    reader = READERS[file.name]
    try:
        open_file = prepared.get(file.name) or reader.prepare()
        outputs = predict_in_all_sizes(open_file(file, DataSpec.read(spec)), np.load(inputs, mmap_mode="r"))
    except Exception as error:  # whatever a runtime raises for a broken file
        return f"{type(error).__name__}: {one_line(error)}"
    if others := sorted(imported_frameworks() - reader.imports):
        return f"the file needs {', '.join(others)}"
    return outputs


def imported_frameworks() -> set[str]:
    """Those of FRAMEWORKS that this process has imported."""
    return {name for name in FRAMEWORKS if sys.modules.get(name)}


def _silence() -> None:
    """Discard the output of the runtimes; results are in the answers."""
    with Path(os.devnull).open("w", encoding="utf-8") as null:
        for descriptor in (1, 2):
            os.dup2(null.fileno(), descriptor)


def onnx_runtime() -> OpenFile:
    """ONNX Runtime, for ONNX graphs."""
    from models.onnx import inference
    from models.onnx.session import open_session

    return lambda file, _spec: partial(inference.run, open_session(file, "cpu"))


def litert() -> OpenFile:
    """LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    def open_file(file: Path, spec: DataSpec) -> Predict:
        serve = Interpreter(str(file), num_threads=1).get_signature_runner("serve")
        return lambda raw: np.asarray(serve(**{spec.input_name: raw})[spec.output_name])

    return open_file


def tensorflow() -> OpenFile:
    """TensorFlow, for a SavedModel, without Keras, which it imports if installed."""
    with hidden("keras"):
        import tensorflow as tf

    def open_file(file: Path, spec: DataSpec) -> Predict:
        tf.config.set_visible_devices([], "GPU")  # as for the trained model
        model = tf.saved_model.load(str(file))

        def predict(raw: np.ndarray, _owner: object = model) -> np.ndarray:
            return np.asarray(model.signatures["serve"](tf.constant(raw))[spec.output_name])

        return predict

    return open_file


def keras() -> OpenFile:
    """Keras, for a .keras file, whose outputs are logits or standardised targets."""
    with hidden(*EXTRAS_OF_KERAS):
        import keras
    import tensorflow as tf

    def open_file(file: Path, spec: DataSpec) -> Predict:
        tf.config.set_visible_devices([], "GPU")  # as for the trained model
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
    import torch._dynamo  # otherwise imported by `load`, which takes seconds
    import torch.export.pt2_archive

    def open_file(file: Path, _spec: DataSpec) -> Predict:
        program = torch.export.load(file).module()

        @torch.no_grad()
        def predict(raw: np.ndarray) -> np.ndarray:
            return np.asarray(program(torch.from_numpy(raw)))

        return predict

    return open_file


class Reader(NamedTuple):
    """The runtime of files of one name: `prepare` imports it, and none of FRAMEWORKS but `imports`. It may be repeated.

    `frameworks` are those whose models are exported to such a file.
    """

    prepare: Callable[[], OpenFile]
    imports: frozenset[str]
    frameworks: frozenset[Framework]


READERS = {
    KERAS: Reader(keras, frozenset({"keras", "tensorflow"}), frozenset({"keras"})),
    SAVED_MODEL: Reader(tensorflow, frozenset({"tensorflow"}), frozenset({"keras"})),
    EXPORTED_PROGRAM: Reader(torch, frozenset({"torch"}), frozenset({"torch"})),
    LITERT: Reader(litert, frozenset(), frozenset({"keras"})),
    ONNX: Reader(onnx_runtime, frozenset(), frozenset({"keras", "torch"})),
    INT8: Reader(onnx_runtime, frozenset(), frozenset({"keras", "torch"})),
}
