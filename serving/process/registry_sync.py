"""The champion from an MLflow registry, for TANDEM_CHAMPION = `models:/NAME@ALIAS`.

Another process (`python -m pipelines.registry`) knows MLflow and keeps a bundle folder equal to the
version that the alias names; the workers watch that folder as they would any other. So no worker
holds MLflow in its memory, and moving the alias is a hot swap, back or forth.
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
SECONDS = 120  # longest time for the first download
log = logging.getLogger("bentoml.tandem")


def is_source(settings: Settings) -> bool:
    """Whether the champion's folder is one that follows an alias."""
    return settings.champion.parent == REGISTRY


def follow(settings: Settings) -> None:
    """Fetch the champion, and have it followed for as long as this process lives.

    Raises InputError where it cannot be fetched and there is none from an earlier time.
    """
    command = _command(settings.champion)
    try:
        _fetch(command)
    except InputError as error:
        if not (settings.champion / MANIFEST).is_file():
            raise
        log.warning("the champion of an earlier time goes on: %s", error)
    watch = ["--poll", str(settings.poll_seconds), "--parent", str(os.getpid())]
    process = subprocess.Popen([*command, *watch], env=_environment(), stdin=subprocess.DEVNULL)
    atexit.register(process.terminate)


def _command(folder: Path) -> list[str]:
    """Raises InputError where the pipeline is not installed beside the service."""
    if not (ROOT / "pipelines" / "registry.py").is_file():
        sidecar = "run `python -m pipelines.registry` beside the service and give TANDEM_CHAMPION its folder"
        raise InputError(f"TANDEM_CHAMPION: models:/{folder.name}: the pipeline is not installed here; {sidecar}")
    return [sys.executable, "-m", "pipelines.registry", f"models:/{folder.name}", str(folder)]


def _fetch(command: list[str]) -> None:
    """Fetch once. Raises InputError with the last line that the other process wrote."""
    try:
        done = subprocess.run(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[3]}: not fetched within {SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise InputError(said[-1].removeprefix("error: "))


def _environment() -> dict[str, str]:
    """This one's, with the code where the other process finds it, and without bars of progress."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | quiet
