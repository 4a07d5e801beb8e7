"""The whole pipeline, for real and tiny: both frameworks on real digits, in a copy of the repository of its own."""

import json
import operator
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import mlflow
from dvc.repo import Repo
from mlflow.entities import Run
from ruamel.yaml import YAML

from tests.pipelines.workspace import REPOSITORY

CANDIDATES = ("torch-cnn", "keras-cnn")
PARAMS = {
    "architectures": ["cnn"],
    "models.cnn.channels": [4, 8],
    "models.cnn.dense": 16,
    "train.epochs": 3,
    "train.minimum_steps": 0,
    "evaluate.latency_seconds": 0.02,
    "evaluate.bootstrap": 100,
    "promote.minimum_accuracy": 0.1,
    "promote.latency_seconds": 0.1,
}
# Python imports this when it starts: every stage leaves a line with the packages that it imported.
WATCH = """
import atexit, json, os, sys
def write():
    names = sorted({name.split('.')[0] for name, module in sys.modules.items() if module})
    with open(os.environ['IMPORTS'], 'ab', buffering=0) as file:  # at once: several processes may end together
        file.write(json.dumps([sys.argv, names]).encode() + b'\\n')
atexit.register(write)
"""


class Workspace:
    """A copy of the repository with its own git history, DVC cache and MLflow store."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.environment(**variables), capture_output=True, text=True, check=False
        )

    def stage(self, name: str, candidate: str, **variables: str) -> subprocess.CompletedProcess[str]:
        framework, architecture = candidate.split("-")
        command = [sys.executable, "-m", f"pipelines.{name}", "--framework", framework, "--architecture", architecture]
        return self.run(*command, **variables)

    def environment(self, **variables: str) -> dict[str, str]:
        """That of a shell in this folder. What MLflow and tests set for this process stays here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", "GIT_"))}
        person = {"GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.org"}
        person |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in person.items()}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        return {
            **kept,
            **person,
            "PATH": path,
            "DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "tmp" / "site"),
            **variables,
        }

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set values of params.yaml, such as {"train.epochs": 3}."""
        yaml, path = YAML(), self.root / "params.yaml"
        values = yaml.load(path)
        for key, value in changes.items():
            *sections, name = key.split(".")
            reduce(operator.getitem, sections, values)[name] = value
        yaml.dump(values, path)

    def read(self, path: str) -> Any:
        return json.loads((self.root / path).read_text("utf-8"))

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")

    def runs(self) -> list[Run]:
        """The runs, the latest first."""
        experiment = self.client.get_experiment_by_name("tandem")
        return list(self.client.search_runs([experiment.experiment_id], order_by=["start_time DESC"]))

    def run_of(self, candidate: str) -> Run:
        return self.client.get_run(self.read(f"artifacts/checkpoints/{candidate}/run.json")["run_id"])

    def changed(self) -> set[str]:
        """The stages that `dvc status` finds changed in themselves."""
        with Repo(self.root) as repo:
            found = repo.status()
        # From elsewhere, DVC calls them by the path of dvc.yaml and their name.
        changed = {name for name, reasons in found.items() if any("changed deps" in reason for reason in reasons)}
        return {name.rpartition(":")[2] for name in changed}

    def files(self, folder: str) -> dict[str, bytes]:
        found = (path for path in (self.root / folder).rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in found}


def run(folder: Path) -> Workspace:
    """A copy of the repository in `folder` in which `dvc repro` has run once."""
    found = Workspace(folder / "tandem")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (found.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, found.root / name)
    (found.root / "dvc.lock").unlink(missing_ok=True)
    found.change(PARAMS)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--no-verify", "-m", "start"]):
        done = found.run("git", *command)
        assert done.returncode == 0, done.stderr
    watch = folder / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH, "utf-8")
    done = found.run("dvc", "repro", PYTHONPATH=str(watch), IMPORTS=str(found.root / ".dvc" / "tmp" / "imports"))
    assert done.returncode == 0, done.stdout + done.stderr
    (found.root / ".dvc" / "tmp" / "repro").write_text(done.stdout, "utf-8")
    return found
