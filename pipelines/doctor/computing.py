"""Where each framework really computes, against what `params.yaml` asks for."""

from concurrent.futures import ThreadPoolExecutor

from models.config import Device
from models.gpu_driver import has_nvidia_driver
from pipelines.config.params import Params
from pipelines.doctor import subprocess_check
from pipelines.doctor.finding import Finding
from pipelines.doctor.subprocess_check import ApartError

MODULE = "pipelines.doctor.convolution"


def look(settings: Params) -> list[Finding]:
    """A small convolution in each framework, all three side by side."""
    train = settings.train.device
    wanted: dict[str, Device | None] = {
        "torch": train if "torch" in settings.frameworks else None,
        "tensorflow": train if "keras" in settings.frameworks else None,
        "onnxruntime": settings.evaluate.device,
    }
    with ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(_look, wanted, wanted.values()))


def _look(framework: str, wanted: Device | None) -> Finding:
    """`wanted` is None where the framework is not asked for."""
    subject = f"{framework} computes"
    try:
        seen = subprocess_check.ask(MODULE, framework)
    except ApartError as error:
        return Finding("problem" if wanted else "warning", subject, f"nowhere: {error}", "reinstall with `uv sync`")
    return judge(subject, seen["device"], seen["found"], wanted, driver=has_nvidia_driver())


def judge(subject: str, device: str, found: str, wanted: Device | None, *, driver: bool) -> Finding:
    """What it means that a framework computed on `device`, `cpu` or `cuda`, where `wanted` was asked for."""
    if device == "cuda":
        return Finding("ok", subject, found)
    if wanted == "cuda":
        return Finding("problem", subject, found, "params.yaml asks for device cuda; allowed here: auto, cpu")
    if driver and wanted != "cpu":
        return Finding("warning", subject, found, "there is a driver; see the CUDA libraries above")
    return Finding("ok", subject, found)
