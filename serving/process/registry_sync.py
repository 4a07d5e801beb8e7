"""The champion from an MLflow registry, for TANDEM_CHAMPION = `models:/NAME@ALIAS`.

A separate process (`python -m pipelines.registry`) copies the version that the alias names to a bundle folder, which
the workers check as any other. No worker imports MLflow, and moving the alias replaces the served champion.
"""

import atexit
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from models.errors import InputError
from models.manifest import MANIFEST
from serving.inference import bundle
from serving.process import json_log
from serving.settings import REGISTRY, Settings

ROOT = Path(__file__).parents[2]
DOWNLOAD_SECONDS = 120  # time limit of the first download
RESTART_SECONDS = 1.0
MAX_RESTART_SECONDS = 60.0
STALE_SECONDS = 60.0  # age of the last successful check from which on it is logged
WATCH_SECONDS = 1.0
STDERR = 2
log = logging.getLogger("bentoml.tandem")


def follows_alias(settings: Settings) -> bool:
    """Return whether the champion comes from a registry: other folders beside its downloads have no alias."""
    return settings.champion.parent == REGISTRY and "@" in settings.champion.name


def fetch(settings: Settings) -> None:
    """Download the champion. Raises InputError if that fails and no earlier download exists."""
    command = _command(settings.champion)
    try:
        _fetch(command)
    except InputError as error:
        if not (settings.champion / MANIFEST).is_file():
            raise
        log.warning("keeping the champion of an earlier download: %s", error)


def follow(settings: Settings) -> None:
    """Keep the champion up to date until this process ends. Raises InputError if the pipeline is not installed."""
    options = ["--poll", str(settings.poll_seconds), "--parent", str(os.getpid())]
    follower = Follower([*_command(settings.champion), *options], settings.champion)
    atexit.register(follower.stop)
    follower.start()


class Follower(threading.Thread):
    """Runs `command`, which checks the registry for `folder`, and starts it again whenever it ends, until `stop`.

    Logs each end, and once that the last successful check is older than STALE_SECONDS.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        super().__init__(name="registry", daemon=True)
        self._command = command
        self._folder = folder
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._stale = False

    def stop(self) -> None:
        """End the process, and start it no more."""
        self._stopped.set()
        if self._process:
            self._process.terminate()

    def run(self) -> None:
        """Start the process, wait for its end, repeat; the pause doubles from one short run to the next."""
        pause = RESTART_SECONDS
        while not self._stopped.is_set():
            started = time.monotonic()
            end = self._run_once()
            if self._stopped.is_set():
                break
            pause = RESTART_SECONDS if time.monotonic() - started > MAX_RESTART_SECONDS else pause
            log.warning("the registry process ended: %s; %s; restart in %s s", end, self._last_check(), pause)
            self._stopped.wait(pause)
            pause = min(2 * pause, MAX_RESTART_SECONDS)

    def _run_once(self) -> str:
        """Run the process until it ends; how it ended."""
        try:
            stdout = STDERR if json_log.ENABLED else None  # where the supervisor logs each line
            command, variables = self._command, _environment()
            self._process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=stdout)
        except OSError as error:
            return f"not started, {error}"
        while self._process.poll() is None and not self._stopped.wait(WATCH_SECONDS):
            self._log_age()
        if self._stopped.is_set():
            self._process.terminate()
        # BentoML's arbiter waits for any child, and if it is first the status is lost and read as 0.
        return f"exit status {self._process.returncode or 'unknown'}"

    def _log_age(self) -> None:
        """Log when the last successful check becomes too old, and when checks succeed again."""
        age = bundle.registry_age(self._folder)
        stale = age is not None and age > STALE_SECONDS
        if stale != self._stale:
            log.log(logging.WARNING if stale else logging.INFO, "model registry: %s", self._last_check())
        self._stale = stale

    def _last_check(self) -> str:
        age = bundle.registry_age(self._folder)
        return "never checked" if age is None else f"last checked {age:.0f} s ago"


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
