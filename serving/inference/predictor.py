"""An ONNX Runtime session behind one method; no HTTP."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from models.errors import InputError
from models.spec import DataSpec
from serving.settings import ENGINES, Device

# ONNX Runtime reports its use to its makers from the moment it is imported, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from serving.inference.gpu_batches import SIZES, DeviceBatches

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
WANTED = {"cuda": CUDA, "tensorrt": TENSORRT}
# TF32 would move the numbers away from what the export proved; the search for algorithms would
# repeat for every new batch size.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


class Predictor:
    """One exported graph, ready to run.

    `model` is the verified content of the ONNX file, `spec` says what the graph's input and output
    must be. TensorRT keeps its engines in the folder `engines`. Raises InputError where the graph is another
    one or the device asked for is not used.
    """

    def __init__(self, model: bytes, spec: DataSpec, device: Device = "auto", engines: Path = ENGINES) -> None:
        self.spec = spec
        self._session = open_session(
            model, device, _engine_options(model, spec, engines) if device == "tensorrt" else {}
        )
        _check_signature(self._session, spec)
        self._batches = None if self.provider == CPU else DeviceBatches(self._session, spec, "cuda")

    @property
    def provider(self) -> str:
        """The execution provider that is really used, read back from the session."""
        return str(self._session.get_providers()[0])

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Raw examples [N, *spec.shape] of spec.dtype -> float32 [N, K] probabilities, or [N, 1] predictions."""
        if self._batches:
            return self._batches.predict(inputs)
        outputs: np.ndarray = self._session.run([self.spec.output_name], {self.spec.input_name: inputs})[0]
        return outputs


def open_session(
    model: bytes, device: Device, engine_options: Mapping[str, str] = MappingProxyType({})
) -> onnxruntime.InferenceSession:
    """A session on `device`. Raises InputError where the device or the model cannot be used."""
    try:
        session = onnxruntime.InferenceSession(model, _options(), providers=_providers(device, engine_options))
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise InputError(f"ONNX Runtime cannot open the model on device {device!r}: {error}") from error
    used = session.get_providers()[0]
    # ONNX Runtime falls back to the CPU without raising.
    if used != WANTED.get(device, used):
        advice = "with an NVIDIA GPU, `uv sync --extra gpu` brings CUDA's libraries, `tensorrt` has its own"
        raise InputError(f"device {device!r} was asked for but ONNX Runtime uses {used}; {advice}; allowed: auto, cpu")
    return session


def _options() -> onnxruntime.SessionOptions:
    """One thread that sleeps when idle: the workers are as many as the cores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _providers(device: Device, engine_options: Mapping[str, str]) -> list[str | tuple[str, dict[str, str]]]:
    """The providers to ask for; `auto` asks for CUDA only where the machine has such a device."""
    wanted = device in WANTED or (device == "auto" and Path("/dev/nvidiactl").exists())
    if not wanted or CUDA not in onnxruntime.get_available_providers():
        return [CPU]
    onnxruntime.preload_dlls()
    on_gpu: list[str | tuple[str, dict[str, str]]] = [(CUDA, CUDA_OPTIONS), CPU]
    return [(TENSORRT, dict(engine_options)), *on_gpu] if device == "tensorrt" else on_gpu


def _engine_options(model: bytes, spec: DataSpec, engines: Path) -> dict[str, str]:
    """One engine for all batch sizes, kept for the next start; float32, as the export proved.

    ONNX Runtime finds an engine by the names in the graph, not by its weights (microsoft/onnxruntime#6455): so each
    model has a folder of its own. https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
    """
    folder = engines / hashlib.sha256(model).hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"TANDEM_ENGINES: {folder}: {error.strerror}; name a folder that can be written") from error
    shape = "x".join(map(str, spec.shape))
    profile = {"min": SIZES[0], "opt": SIZES[-2], "max": SIZES[-1]}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(engines),
        **{f"trt_profile_{name}_shapes": f"{spec.input_name}:{size}x{shape}" for name, size in profile.items()},
    }


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
