"""Bytecode of the packages that take longest to import, compiled once per environment on all processor cores.

Python would compile them on one core while it imports them, and again in each stage where PYTHONDONTWRITEBYTECODE is
set. uv can compile at installation, but then examines all files of the environment in each `uv run`
(https://github.com/astral-sh/uv/issues/12202).
"""

import compileall
import os
from collections.abc import Iterable
from importlib.util import cache_from_source, find_spec
from pathlib import Path

PACKAGES = (
    "dvc",
    "keras",
    "matplotlib",
    "mlflow",
    "networkx",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pydantic",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "sympy",
    "tensorflow",
    "torch",
)


def compile_missing(packages: Iterable[str] = PACKAGES) -> list[str]:
    """Compile the packages that are installed without bytecode; their names.

    Where the environment cannot be written, nothing is compiled and imports take longer.
    """
    files = {name: init for name in packages if (init := _init_file(name))}
    missing = {name: init for name, init in files.items() if not _is_compiled(init) and _can_be_compiled(init)}
    if missing:
        print(f"compiling {', '.join(missing)}: once after installation", flush=True)
    for init in missing.values():
        compileall.compile_dir(init.parent, quiet=2, workers=0)
    return [*missing]


def _init_file(package: str) -> Path | None:
    """Its `__init__.py`; None if it is not installed."""
    spec = find_spec(package)
    return Path(spec.origin) if spec and spec.origin else None


def _is_compiled(file: Path) -> bool:
    return Path(cache_from_source(file)).exists()


def _can_be_compiled(file: Path) -> bool:
    """False where its folder for bytecode cannot be created or written."""
    folder = Path(cache_from_source(file)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
