"""Device that each framework computes on, compared with the configured one, and that of each part of the pipeline."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.config import Framework
from models.gpu_driver import has_nvidia_driver
from models.onnx.session import REQUIRED
from pipelines.config.params import Params
from pipelines.doctor import child_process, convolution
from pipelines.doctor.check_result import CheckResult
from pipelines.doctor.child_process import CheckProcessError
from pipelines.doctor.libraries import is_installed
from pipelines.execution.candidate import Candidate

MODULE = convolution.__name__
ONNXRUNTIME = "onnxruntime"
SERVICE = "TANDEM_DEVICE"  # of the service's environment
TENSORRT = "libnvinfer.so.10"  # an installation of its own


def check(settings: Params) -> list[CheckResult]:
    """Compute a convolution with each library, in parallel; then one result for each part of the pipeline."""
    configured = {library: _configured(settings, framework) for library, framework in convolution.TRAINS.items()}
    configured[ONNXRUNTIME] = settings.evaluate.device
    with ThreadPoolExecutor(len(configured)) as pool:
        outputs = dict(zip(configured, pool.map(_run, configured), strict=True))
    results = [_result(library, outputs[library], configured[library]) for library in configured]
    return [*results, *parts(settings, outputs, os.environ.get(SERVICE, "auto"))]


def _configured(settings: Params, framework: Framework) -> str | None:
    """The device of the framework's candidates that is hardest to satisfy; None if `params.yaml` has none of them."""
    devices = {settings.train.for_candidate(*pair).device for pair in settings.pairs if pair[0] == framework}
    return min(devices, key=lambda device: (not device.startswith("cuda"), device != "auto"), default=None)


def _run(library: str) -> dict[str, Any] | CheckProcessError:
    try:
        return dict(child_process.run(MODULE, library))
    except CheckProcessError as error:
        return error


def _result(library: str, output: Mapping[str, Any] | CheckProcessError, configured: str | None) -> CheckResult:
    """The result for one library; `configured` is None if `params.yaml` does not use it."""
    subject = f"{library} computes"
    if isinstance(output, CheckProcessError):
        advice = "run it again on a less busy machine, or reinstall with `uv sync`"
        return CheckResult("problem" if configured else "warning", subject, f"failed: {output}", advice)
    return compare(subject, output["device"], output["detail"], configured, driver=has_nvidia_driver())


def compare(subject: str, device: str, detail: str, configured: str | None, *, driver: bool) -> CheckResult:
    """The result for the `device` used, `cpu` or `cuda`, given the configured device."""
    if device == "cuda":
        return CheckResult("ok", subject, detail)
    if configured and configured.startswith("cuda"):
        return CheckResult(
            "problem", subject, detail, f"params.yaml requires device {configured}; allowed here: auto, cpu"
        )
    if driver and configured != "cpu":
        advice = "an NVIDIA driver is present; the lines on CUDA above, and on each part below, have the reason"
        return CheckResult("warning", subject, detail, advice)
    return CheckResult("ok", subject, detail)


def parts(
    settings: Params, outputs: Mapping[str, Mapping[str, Any] | CheckProcessError], service: str
) -> Iterator[CheckResult]:
    """Where each part of the pipeline runs, and why not on a GPU, by the `outputs` of the libraries.

    `service` is the device that the service is configured with in this environment.
    """
    for library, framework in convolution.TRAINS.items():
        output = outputs[library]
        if framework in settings.frameworks and not isinstance(output, CheckProcessError):
            yield _training(settings, framework, output["training"])
    yield CheckResult(
        "ok", "export", "on the CPU: the parity check and the stored example are the same on all machines"
    )
    runtime = outputs[ONNXRUNTIME]
    if isinstance(runtime, CheckProcessError):
        return
    for subject, setting, device in (
        ("evaluate, promote, drift", "evaluate.device", settings.evaluate.device),
        ("service", SERVICE, service),
    ):
        yield _inference(subject, setting, device, runtime["reason"])
    # https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#quantization-on-gpu
    gpu = "on the GPU in float32 between quantisations; TensorRT and the CPU compute in 8 bits"
    yield CheckResult("ok", "int8 graphs", f"on the CPU: {runtime['reason']}" if runtime["reason"] else gpu)


def _inference(subject: str, setting: str, device: str, reason: str) -> CheckResult:
    """The device of a part that uses ONNX Runtime; a problem where a GPU is required that cannot be used."""
    if device == "cpu":
        return CheckResult("ok", subject, place(f"{setting} = 'cpu'"))
    if device == "tensorrt" and not reason and not is_installed(TENSORRT):
        reason = f"{TENSORRT} is missing"
    if device in REQUIRED and reason:
        return CheckResult("problem", subject, f"{setting} = '{device}': {reason}", "allowed here: auto, cpu")
    return CheckResult("ok", subject, place(reason))


def place(reason: str) -> str:
    """The device, given the reason against a GPU; empty if one is used."""
    return f"on the CPU: {reason}" if reason else "on the GPU"


def _training(settings: Params, framework: Framework, reasons: Mapping[str, str]) -> CheckResult:
    """The device of the candidates of a framework; a problem where a GPU is required that cannot be used."""
    required = [
        chosen.name
        for chosen in (Candidate(*pair) for pair in settings.pairs if pair[0] == framework)
        if settings.train.for_candidate(chosen.framework, chosen.architecture).requires_gpu
    ]
    if failing := {name: reasons[name] for name in required if reasons[name]}:
        detail = "; ".join(f"{name}: {reason}" for name, reason in failing.items())
        return CheckResult("problem", f"train {framework}", detail, "params.yaml requires a GPU; allowed: auto, cpu")
    return CheckResult("ok", f"train {framework}", _of_candidates(reasons))


def _of_candidates(reasons: Mapping[str, str]) -> str:
    """One text for all candidates of a framework, or for each if they differ."""
    if len(set(reasons.values())) == 1:
        return place(next(iter(reasons.values())))
    return "; ".join(f"{name} {place(reason)}" for name, reason in reasons.items())
