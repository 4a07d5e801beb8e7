"""The exported graph in ONNX Runtime, on the device that was asked for."""

import io
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import TypeAlias

import numpy as np

# ONNX Runtime reads this when it is imported; a person who wants telemetry sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from models.config import Device
from models.errors import InputError
from pipelines.inference.gpu_driver import has_nvidia_driver

BATCH = 256  # examples held in memory at once ...
BATCH_BYTES = 1 << 22  # ... but of large ones only so many: a layer may make thirty times as much of them
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
FATAL = 4  # severity of ONNX Runtime's log

Session: TypeAlias = onnxruntime.InferenceSession


def open_session(file: Path, device: Device) -> Session:
    """Load a graph as one worker of the service does: one thread, which does not spin while it waits.

    `auto` takes the GPU where it can be used. ONNX Runtime falls back to the CPU without a word, so
    what it chose is read back. Raises InputError where `cuda` is asked for and cannot be used.
    """
    # A GPU that cannot be used is told by what the session chose; the log repeats it in ten lines.
    onnxruntime.set_default_logger_severity(FATAL)
    session = Session(str(file), _options(), providers=_providers(device))
    if device == "cuda" and provider(session) != CUDA:
        raise InputError("evaluate.device = 'cuda': ONNX Runtime cannot use a GPU here; allowed: auto, cpu")
    return session


def provider(session: Session) -> str:
    """The execution provider that the session really uses first."""
    return str(session.get_providers()[0])


def predict(session: Session, inputs: np.ndarray) -> np.ndarray:
    """Outputs float32 [N, K] for raw inputs [N, ...], batch by batch: `inputs` may be memory-mapped."""
    size = batch_size(inputs)
    batches = (inputs[start : start + size] for start in range(0, len(inputs), size))
    return np.concatenate([run(session, batch) for batch in batches])


def batch_size(inputs: np.ndarray) -> int:
    """How many examples like those of `inputs` [N, ...] are held in memory at once."""
    return max(1, min(BATCH, BATCH_BYTES // inputs[:1].nbytes))


def run(session: Session, batch: np.ndarray) -> np.ndarray:
    """Outputs float32 [N, K] of one batch [N, ...]."""
    outputs = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(batch)})
    return np.asarray(outputs[0])


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _providers(device: Device) -> list[str]:
    # Without a driver, loading a gigabyte of libraries is in vain.
    if device == "cpu" or not has_nvidia_driver() or CUDA not in onnxruntime.get_available_providers():
        return [CPU]
    with redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    return [CUDA, CPU]
