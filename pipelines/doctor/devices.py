"""Device that each framework computes on, compared with the configured one."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from models.config import Framework
from models.gpu_driver import has_nvidia_driver
from pipelines.doctor import child_process
from pipelines.doctor.check_result import CheckResult
from pipelines.doctor.child_process import CheckProcessError

MODULE = "pipelines.doctor.convolution"


def check(frameworks: Collection[Framework], train: str, evaluate: str) -> list[CheckResult]:
    """Compute a convolution with each framework, in parallel; `train` and `evaluate` are the configured devices."""
    configured: dict[str, str | None] = {
        "torch": train if "torch" in frameworks else None,
        "tensorflow": train if "keras" in frameworks else None,
        "onnxruntime": evaluate,
    }
    with ThreadPoolExecutor(len(configured)) as pool:
        return list(pool.map(_check, configured, configured.values()))


def _check(framework: str, configured: str | None) -> CheckResult:
    """The result for one framework; `configured` is None if `params.yaml` does not use it."""
    subject = f"{framework} computes"
    try:
        output = child_process.run(MODULE, framework)
    except CheckProcessError as error:
        return CheckResult(
            "problem" if configured else "warning", subject, f"failed: {error}", "reinstall with `uv sync`"
        )
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
        return CheckResult("warning", subject, detail, "an NVIDIA driver is present; see the CUDA libraries above")
    return CheckResult("ok", subject, detail)
