"""Versions of the code and the packages that a run executes, and the command that it is part of."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from models.config import Framework

# What a trained and exported file depends on.
PACKAGES: dict[Framework, tuple[str, ...]] = {
    "torch": ("numpy", "torch", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime"),
    "keras": ("numpy", "keras", "tensorflow", "onnx", "tf2onnx", "onnxruntime-gpu", "onnxruntime"),
}


def tags() -> dict[str, str]:
    """Run tags: git commit, whether the working tree differs from it, the DVC experiment and `pipeline_run`."""
    values = {"git_commit": _git("rev-parse", "HEAD") or "none", "git_dirty": str(_dirty()).lower()}
    values["pipeline_run"] = pipeline_run()
    if experiment := os.environ.get("DVC_EXP_NAME"):
        values["dvc_experiment"] = experiment
    return values


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of the packages that are installed."""
    versions = {}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def pipeline_run() -> str:
    """The same for all runs of one `dvc repro` or experiment: the name of the experiment, or start (UTC) and process.

    A stage that DVC has not started is by itself.
    """
    if experiment := os.environ.get("DVC_EXP_NAME"):
        return experiment
    process = psutil.Process()
    command = next((parent for parent in process.parents() if _is_dvc(parent)), process)
    return f"{datetime.fromtimestamp(command.create_time(), UTC):%Y-%m-%d %H:%M:%S} ({command.pid})"


def _is_dvc(process: psutil.Process) -> bool:
    """True for `dvc` and `python -m dvc`; False if its command line may not be read."""
    try:
        return any(Path(word).stem == "dvc" for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _dirty() -> bool:
    """True if code or parameters differ from the commit; dvc.lock is excluded, as the run itself writes it."""
    return bool(_git("status", "--porcelain", "--", ".", ":!dvc.lock"))


def _git(*arguments: str) -> str:
    """Standard output of a git command; empty without git or a repository."""
    try:
        completed = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return completed.stdout.strip()
