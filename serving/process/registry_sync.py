"""The champion from an MLflow registry, for TANDEM_CHAMPION = `models:/NAME@ALIAS`.

A separate process (`python -m pipelines.registry`) copies the version that the alias names to a bundle folder, which
the workers check as any other. No worker imports MLflow, and moving the alias replaces the served champion.
"""

import atexit
import logging
import os
import subprocess
import sys
from pathlib import Path

from models.errors import InputError
from models.manifest import MANIFEST
from serving.settings import REGISTRY, Settings

ROOT = Path(__file__).parents[2]
DOWNLOAD_SECONDS = 120  # time limit of the first download
log = logging.getLogger("bentoml.tandem")


def follows_alias(settings: Settings) -> bool:
    """Return whether the champion comes from a registry."""
    return settings.champion.parent == REGISTRY


def follow(settings: Settings) -> None:
    """Download the champion, and keep it up to date until this process ends.

    Raises InputError if it cannot be downloaded and no earlier download exists.
    """
    command = _command(settings.champion)
    try:
        _fetch(command)
    except InputError as error:
        if not (settings.champion / MANIFEST).is_file():
            raise
        log.warning("keeping the champion of an earlier download: %s", error)
    watch = ["--poll", str(settings.poll_seconds), "--parent", str(os.getpid())]
    process = subprocess.Popen([*command, *watch], env=_environment(), stdin=subprocess.DEVNULL)
    atexit.register(process.terminate)


def _command(folder: Path) -> list[str]:
    """The command of the separate process. Raises InputError if the pipeline is not installed."""
    if not (ROOT / "pipelines" / "registry.py").is_file():
        sidecar = "run `python -m pipelines.registry` beside the service and give TANDEM_CHAMPION its folder"
        raise InputError(f"TANDEM_CHAMPION: models:/{folder.name}: the pipeline is not installed here; {sidecar}")
    return [sys.executable, "-m", "pipelines.registry", f"models:/{folder.name}", str(folder)]


def _fetch(command: list[str]) -> None:
    """Download once. Raises InputError with the last line of the process's standard error."""
    try:
        done = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[3]}: not downloaded within {DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InputError(lines[-1].removeprefix("error: "))


def _environment() -> dict[str, str]:
    """This process's environment with the repository in PYTHONPATH and without MLflow's progress bars."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | quiet
