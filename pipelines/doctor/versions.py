"""Versions of the installed packages, and conflicts between them."""

import platform
import sys
import sysconfig
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

from models.config import Framework
from pipelines.doctor.check_result import CheckResult

PYTHON_VERSIONS = ((3, 11), (3, 13))  # minimum and maximum, as in pyproject.toml
REQUIRED = ("onnx", "mlflow", "dvc", "bentoml")
FRAMEWORKS: dict[Framework, tuple[str, ...]] = {"torch": ("torch",), "keras": ("tensorflow", "keras")}
INSTALL = "install it with `uv sync`"


def check(frameworks: Collection[Framework]) -> list[CheckResult]:
    """Python, frameworks, tools and ONNX Runtime; only the configured `frameworks` are required."""
    packages = [
        _package(name, required=framework in frameworks) for framework, names in FRAMEWORKS.items() for name in names
    ]
    tools = [_package(name, required=True) for name in REQUIRED]
    return [_python(), *commands(Path(sysconfig.get_path("scripts"))), *packages, *tools, onnxruntime()]


def commands(scripts: Path) -> list[CheckResult]:
    """A problem if the commands in `scripts`, of a virtual environment, start a Python of another folder."""
    script = scripts / "dvc"
    start = script.read_bytes()[:200].splitlines()[:1] if script.is_file() else []
    python = Path(start[0].removeprefix(b"#!").strip().decode(errors="replace")) if start else scripts
    if sys.prefix == sys.base_prefix or not python.name.startswith("python"):
        return []
    if python.parent.resolve() == scripts.resolve():  # an environment may be reached through a symlink
        return []
    detail = f"{script} starts {python}: the environment was moved or copied"
    return [CheckResult("problem", "commands", detail, "delete .venv; `uv run` creates it again")]


def onnxruntime(installed: dict[str, str] | None = None) -> CheckResult:
    """One ONNX Runtime among the distributions `installed` (name: version), as all of them install the same module."""
    installed = _runtimes() if installed is None else installed
    detail = ", ".join(f"{name} {version}" for name, version in sorted(installed.items()))
    if not installed:
        return CheckResult("problem", "onnxruntime", "not installed", INSTALL)
    if len(installed) > 1:
        advice = "they overwrite each other: uninstall all of them, then `uv sync --reinstall`"
        return CheckResult("problem", "onnxruntime", f"{detail} are installed together", advice)
    return CheckResult("ok", "onnxruntime", detail)


def _runtimes() -> dict[str, str]:
    names = set(metadata.packages_distributions().get("onnxruntime", []))
    return {name: metadata.version(name) for name in names}


def _python() -> CheckResult:
    minimum, maximum = PYTHON_VERSIONS
    detail = f"{platform.python_version()} at {sys.executable}"
    if minimum <= sys.version_info[:2] <= maximum:
        return CheckResult("ok", "python", detail)
    return CheckResult("problem", "python", detail, "use 3.11 to 3.13, for example with `uv python install 3.13`")


def _package(name: str, *, required: bool) -> CheckResult:
    try:
        return CheckResult("ok", name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return CheckResult("problem" if required else "warning", name, "not installed", INSTALL)
