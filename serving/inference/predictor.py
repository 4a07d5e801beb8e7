"""Predictions of one exported graph by ONNX Runtime."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime

from models.errors import InputError
from models.onnx.session import CPU, Device, Session, open_session, provider
from models.spec import DataSpec
from serving.inference.gpu_batches import SIZES, DeviceBatches
from serving.settings import ENGINES, GPU_MEMORY_BYTES


class Predictor:
    """One exported graph in a session.

    `model` is the verified content of the ONNX file; TensorRT caches its engines in the folder `engines`, and on a GPU
    the session has at most `gpu_memory_bytes`, without the CUDA context.
    Raises InputError if the graph's inputs and outputs do not match `spec` or the requested device is not used.
    """

    def __init__(
        self,
        model: bytes,
        spec: DataSpec,
        device: Device = "auto",
        engines: Path = ENGINES,
        gpu_memory_bytes: int = GPU_MEMORY_BYTES,
    ) -> None:
        self.spec = spec
        options = _engine_options(model, spec, engines) if device == "tensorrt" else {}
        self._session = open_session(model, device, "TANDEM_DEVICE", options, gpu_memory_bytes)
        _check_signature(self._session, spec)
        self._batches = None if self.provider == CPU else DeviceBatches(self._session, spec, "cuda")

    @property
    def provider(self) -> str:
        """The execution provider in use, as reported by the session."""
        return provider(self._session)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Raw examples [N, *spec.shape] of spec.dtype -> float32 [N, K] probabilities, or [N, 1] predictions."""
        if self._batches:
            return self._batches.predict(inputs)
        outputs: np.ndarray = self._session.run([self.spec.output_name], {self.spec.input_name: inputs})[0]
        return outputs


def _engine_options(model: bytes, spec: DataSpec, engines: Path) -> dict[str, str]:
    """Options of TensorRT's provider: one float32 engine for all batch sizes, cached on disk.

    ONNX Runtime looks engines up by the names in the graph, not by its weights (microsoft/onnxruntime#6455), so each
    model has its own folder. https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
    """
    folder = engines / f"{hashlib.sha256(model).hexdigest()}_float32"  # engines without the suffix may use TF32
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"TANDEM_ENGINES: {folder}: {error.strerror}; name a writable folder") from error
    shape = "x".join(map(str, spec.shape))
    profile = {"min": SIZES[0], "opt": SIZES[-2], "max": SIZES[-1]}
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(engines),
        **{f"trt_profile_{name}_shapes": f"{spec.input_name}:{size}x{shape}" for name, size in profile.items()},
    }


def _check_signature(session: Session, spec: DataSpec) -> None:
    """Raise InputError if the graph's inputs and outputs do not match `spec`."""
    kind = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[spec.dtype]
    expected = ([(spec.input_name, kind, list(spec.shape))], [(spec.output_name, "tensor(float)", [spec.outputs])])
    actual = tuple([(node.name, node.type, node.shape[1:]) for node in nodes] for nodes in _signature(session))
    if actual != expected:
        raise InputError(f"the model's inputs and outputs are {actual}, the spec requires {expected}")


def _signature(session: Session) -> tuple[list[onnxruntime.NodeArg], list[onnxruntime.NodeArg]]:
    """The graph's inputs and outputs."""
    return session.get_inputs(), session.get_outputs()
