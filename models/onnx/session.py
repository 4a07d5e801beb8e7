"""ONNX Runtime sessions, with one configuration for all commands of the pipeline and for the service.

Results are float32 on every device. CUDA and TensorRT would round the factors of float32 products to TF32 (10 bits of
mantissa): CUDA's provider has an option against it, TensorRT only obeys the environment variable NVIDIA_TF32_OVERRIDE
(https://github.com/microsoft/onnxruntime/issues/26029), which is read once, so it is set before the first session.
"""

import io
import logging
import os
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

# ONNX Runtime reads this when it is imported; set it to 0 to enable telemetry.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from models.errors import InputError, one_line
from models.gpu_driver import has_nvidia_driver

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
REQUIRED = {"cuda": CUDA, "tensorrt": TENSORRT}
# An exhaustive search for convolution algorithms would be repeated for each batch size.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
ERROR, FATAL = 3, 4  # severities of ONNX Runtime's log
ADVICE = "`uv sync --extra gpu` installs the CUDA libraries; `tensorrt` also needs NVIDIA's TensorRT"
FALLBACK = f"an NVIDIA driver is installed, but ONNX Runtime uses {CPU}; {ADVICE}"

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
Session: TypeAlias = onnxruntime.InferenceSession
log = logging.getLogger(__name__)


def open_session(
    model: bytes | Path,
    device: Device,
    setting: str = "device",
    tensorrt_options: Mapping[str, str] = MappingProxyType({}),
    gpu_memory_bytes: int | None = None,
) -> Session:
    """Open an ONNX graph, by content or path, on `device`; `auto` uses CUDA if possible and the CPU otherwise.

    ONNX Runtime falls back to the CPU without raising, so the provider in use is read back: raises InputError, naming
    `setting`, if `cuda` or `tensorrt` is not used or the model cannot be opened; logs a warning if `auto` finds a
    driver but cannot use it. A graph whose weights are in other files cannot be opened. `gpu_memory_bytes` is the most
    that the session's arena on a GPU may have, where a larger allocation fails; None is no limit.
    """
    # With `auto` the warning below replaces ONNX Runtime's ten lines on each library that is missing.
    onnxruntime.set_default_logger_severity(ERROR if device in REQUIRED else FATAL)
    content = model if isinstance(model, bytes) else str(model)
    providers = _providers(device, tensorrt_options, gpu_memory_bytes)
    try:
        session, reason = _with_fallback(content, providers)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise InputError(f"{setting} = {device!r}: ONNX Runtime cannot open the model: {error}") from error
    used = provider(session)
    if used != REQUIRED.get(device, used):
        raise InputError(f"{setting} = {device!r}: ONNX Runtime uses {used}{reason}; {ADVICE}; allowed: auto, cpu")
    if device == "auto" and used == CPU and has_nvidia_driver():
        log.warning("%s%s", FALLBACK, reason)
    return session


def _with_fallback(content: bytes | str, providers: list[tuple[str, dict[str, str]]]) -> tuple[Session, str]:
    """A session, and the reason if it is one on the CPU because the GPU cannot be used: empty, or after a semicolon.

    ONNX Runtime's own fallback prints to standard output, where commands write results, and applies to later runs too.
    As in it, other exceptions are not caught, such as that of a model that needs more memory than the GPU's limit.
    """
    try:
        return onnxruntime.InferenceSession(content, _options(), providers=providers, enable_fallback=0), ""
    except (ValueError, RuntimeError) as error:
        if providers == [(CPU, {})]:
            raise
        session = onnxruntime.InferenceSession(content, _options(), providers=[(CPU, {})], enable_fallback=0)
        cause = re.search(r"CUDA failure \d+: .+?(?= ;)", one_line(error))
        return session, f"; {cause[0] if cause else one_line(error)}"


def provider(session: Session) -> str:
    """The execution provider in use, as reported by the session."""
    return str(session.get_providers()[0])


def reason_against_gpu(device: Device, setting: str = "device") -> str:
    """The reason why `open_session` does not request a GPU for `device`; empty if it does."""
    if device == "cpu":
        return f"{setting} = 'cpu'"
    if not has_nvidia_driver():
        return "there is no NVIDIA driver"
    return "" if CUDA in onnxruntime.get_available_providers() else "this build of ONNX Runtime has no CUDA"


def reason_for_cpu(session: Session, device: Device, setting: str = "device") -> str:
    """The reason why a session that was opened with `device` computes on the CPU; empty if it does not."""
    return (reason_against_gpu(device, setting) or FALLBACK) if provider(session) == CPU else ""


def may_use_gpu(device: Device) -> bool:
    """True if `open_session` requests a GPU for `device`: not without a driver or a build for CUDA."""
    return not reason_against_gpu(device)


def _options() -> onnxruntime.SessionOptions:
    """One thread that does not spin when idle: the service runs one worker per core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights in other files would be outside the SHA-256 of the graph, so none is found.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = ERROR
    return options


def _providers(
    device: Device, tensorrt_options: Mapping[str, str], gpu_memory_bytes: int | None
) -> list[tuple[str, dict[str, str]]]:
    """The providers to request, in order of preference, with their options; only the CPU's without a driver."""
    # Without a driver, loading a gigabyte of CUDA libraries is useless.
    if not may_use_gpu(device):
        return [(CPU, {})]
    with redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    # https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#gpu_mem_limit
    limit = {} if gpu_memory_bytes is None else {"gpu_mem_limit": str(gpu_memory_bytes)}
    cuda = (CUDA, CUDA_OPTIONS | limit)
    if device != "tensorrt":
        return [cuda, (CPU, {})]
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    workspace = {} if gpu_memory_bytes is None else {"trt_max_workspace_size": str(gpu_memory_bytes)}
    return [(TENSORRT, {**tensorrt_options, **workspace}), cuda, (CPU, {})]
