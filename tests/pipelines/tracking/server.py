"""A real MLflow server with a SQL store and proxied artifacts, which tests start, stop and start again."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import requests

from pipelines.execution.ports import free_port
from tests.pipelines import synthetic

START_SECONDS = 300.0  # at most


class Server:
    """`mlflow server` on a free port of 127.0.0.1, with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        shutil.copy(synthetic.store(), folder / "server.db")

    def start(self) -> None:
        """Start, and wait until it responds."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven more processes
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.responds():
            is_alive = self.process.poll() is None and time.monotonic() < deadline
            assert is_alive, (self.folder / "server.log").read_text("utf-8")
            time.sleep(0.1)

    def responds(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=START_SECONDS).ok
        except requests.ConnectionError:
            return False

    def kill(self) -> None:
        """Kill it and its workers at once."""
        if self.process:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None
