"""An ONNX Runtime session behind one method; no HTTP."""

import os
from pathlib import Path

import numpy as np

from models.errors import InputError
from models.spec import DataSpec
from serving.settings import Device

# ONNX Runtime reports its use to its makers from the moment it is imported, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
# TF32 would move the numbers away from what the export proved; the search for algorithms would
# repeat for every new batch size.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


class Predictor:
    """One exported graph, ready to run.

    `model` is the verified content of the ONNX file, `spec` says what the graph's input and output
    must be. Raises InputError where the graph is another one or the device asked for is not used.
    """

    def __init__(self, model: bytes, spec: DataSpec, device: Device = "auto") -> None:
        self.spec = spec
        self._session = open_session(model, device)
        _check_signature(self._session, spec)

    @property
    def provider(self) -> str:
        """The execution provider that is really used, read back from the session."""
        return str(self._session.get_providers()[0])

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Raw examples [N, *spec.shape] of spec.dtype -> float32 [N, K] probabilities, or [N, 1] predictions."""
        outputs: np.ndarray = self._session.run([self.spec.output_name], {self.spec.input_name: inputs})[0]
        return outputs


def open_session(model: bytes, device: Device) -> onnxruntime.InferenceSession:
    """A session on `device`. Raises InputError where the device or the model cannot be used."""
    try:
        session = onnxruntime.InferenceSession(model, _options(), providers=_providers(device))
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot open the model on device {device!r}: {error}") from error
    used = session.get_providers()[0]
    # ONNX Runtime falls back to the CPU without raising.
    if device == "cuda" and used != CUDA:
        advice = "with an NVIDIA GPU, `uv sync --extra gpu` brings its libraries; otherwise ask for auto or cpu"
        raise InputError(f"device 'cuda' was asked for but ONNX Runtime uses {used}; {advice}")
    return session


def _options() -> onnxruntime.SessionOptions:
    """One thread that sleeps when idle: the workers are as many as the cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _providers(device: Device) -> list[str | tuple[str, dict[str, str]]]:
    """The providers to ask for; `auto` asks for CUDA only where the machine has such a device."""
    wanted = device == "cuda" or (device == "auto" and Path("/dev/nvidiactl").exists())
    if not wanted or CUDA not in onnxruntime.get_available_providers():
        return [CPU]
    onnxruntime.preload_dlls()
    return [(CUDA, CUDA_OPTIONS), CPU]


def _check_signature(session: onnxruntime.InferenceSession, spec: DataSpec) -> None:
    """Raise InputError unless the graph is the one that `spec` describes."""
    kind = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[spec.dtype]
    wanted = ([(spec.input_name, kind, list(spec.shape))], [(spec.output_name, "tensor(float)", [spec.outputs])])
    found = tuple([(node.name, node.type, node.shape[1:]) for node in nodes] for nodes in _signature(session))
    if found != wanted:
        raise InputError(f"the model's inputs and outputs are {found}, the spec asks for {wanted}")


def _signature(session: onnxruntime.InferenceSession) -> tuple[list[onnxruntime.NodeArg], list[onnxruntime.NodeArg]]:
    """The graph's inputs and outputs."""
    return session.get_inputs(), session.get_outputs()
