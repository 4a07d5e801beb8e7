"""Which versions are installed, and whether two packages overwrite each other."""

import platform
import sys
from importlib import metadata

from pipelines.config.params import Params
from pipelines.doctor.finding import Finding

PYTHONS = ((3, 11), (3, 13))  # the oldest and the newest, as in pyproject.toml
NEEDED = ("onnx", "mlflow", "dvc", "bentoml")
FRAMEWORKS = {"torch": ("torch",), "keras": ("tensorflow", "keras")}
INSTALL = "install it with `uv sync`"


def look(settings: Params) -> list[Finding]:
    """Python, each framework, ONNX Runtime and the tools; a framework that is not asked for may be missing."""
    frameworks = [
        _package(name, needed=framework in settings.frameworks)
        for framework, names in FRAMEWORKS.items()
        for name in names
    ]
    return [_python(), *frameworks, *(_package(name, needed=True) for name in NEEDED), onnxruntime()]


def onnxruntime(installed: dict[str, str] | None = None) -> Finding:
    """The one ONNX Runtime among the `installed` distributions: all of them install the same module."""
    found = _runtimes() if installed is None else installed
    described = ", ".join(f"{name} {version}" for name, version in sorted(found.items()))
    if not found:
        return Finding("problem", "onnxruntime", "not installed", INSTALL)
    if len(found) > 1:
        advice = "they overwrite each other: uninstall all of them, then `uv sync --reinstall`"
        return Finding("problem", "onnxruntime", f"{described} are installed together", advice)
    return Finding("ok", "onnxruntime", described)


def _runtimes() -> dict[str, str]:
    names = set(metadata.packages_distributions().get("onnxruntime", []))
    return {name: metadata.version(name) for name in names}


def _python() -> Finding:
    oldest, newest = PYTHONS
    found = f"{platform.python_version()} at {sys.executable}"
    if oldest <= sys.version_info[:2] <= newest:
        return Finding("ok", "python", found)
    return Finding("problem", "python", found, "use 3.11 to 3.13, such as with `uv python install 3.13`")


def _package(name: str, *, needed: bool) -> Finding:
    try:
        return Finding("ok", name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding("problem" if needed else "warning", name, "not installed", INSTALL)
