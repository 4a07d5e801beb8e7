"""Workspaces of the pipeline in temporary folders: its parameters with some of them replaced, and its own stages."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.paths import REPOSITORY
from pipelines.config import overrides, params


def write(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the `params.yaml` of the repository with other values, by dotted name, into a folder.

    Raises InputError if they are not valid.
    """
    settings = overrides.replace(params.read(REPOSITORY / params.FILE), values)
    (folder / params.FILE).write_text(json.dumps(settings.model_dump(mode="json")), "utf-8")  # JSON is YAML


def command(stage: str, candidate: str = "") -> list[str]:
    """The command of a stage, of a candidate such as `torch-cnn` if it has any."""
    framework, _, architecture = candidate.partition("-")
    chosen = ["--framework", framework, "--architecture", architecture] if candidate else []
    return [sys.executable, "-m", f"pipelines.{stage}", *chosen]


def environment() -> dict[str, str]:
    """The variables of a stage: the code of the repository, and the tracking store of its own workspace."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = os.pathsep.join(filter(None, (str(REPOSITORY), inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path}
