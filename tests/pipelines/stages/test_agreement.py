"""Folder and registry after `dvc exp apply`, `git checkout` with `dvc checkout`, and a rollback: equal, or reported."""

import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipelines import registry, rollback
from pipelines.artifacts import paths
from pipelines.doctor import mlflow_store
from pipelines.tracking import model_registry, relocation
from serving.inference import champion
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY, run_main, write_params

STAGE = """
stages:
  promote:
    cmd: python -m pipelines.promote
    params: [architectures, evaluate.device, frameworks, promote, tracking.experiment]
    deps: [artifacts/checkpoints, artifacts/data, artifacts/exports, artifacts/metrics, artifacts/predictions]
    outs:
      - artifacts/champion:
          persist: true
      - artifacts/plots
      - artifacts/report.md
    metrics:
      - artifacts/metrics.json
"""
INPUTS = [f"artifacts/{name}" for name in ("checkpoints", "data", "exports", "metrics", "predictions")]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the stage `promote` alone and two candidates, of which `params.yaml` names the worse one."""
    enter(tmp_path, monkeypatch)
    return tmp_path


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make `folder` such a repository and the working directory."""
    synthetic.enter(folder, patch, {"frameworks": ["torch"], "architectures": ["cnn"]})
    for name, strength, accuracy in (("torch-cnn", 1.0, 0.93), ("keras-cnn", 10.0, 1.0)):
        synthetic.write_candidate(name, strength=strength)
        synthetic.write_metrics(name, accuracy=accuracy)
    (folder / "dvc.yaml").write_text(STAGE)
    (folder / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n")
    call("git", "init", "--quiet")
    call("dvc", "init", "--quiet")
    call("dvc", "add", "--quiet", *INPUTS)


def call(*command: str) -> str:
    """The standard output of a command in the working directory, which succeeds."""
    done = start(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the working directory."""
    person = {f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    variables = {"PYTHONPATH": str(REPOSITORY), "DVC_SITE_CACHE_DIR": str(Path(".dvc/tmp/site").resolve())}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | person | variables | {"PATH": path}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def commit(message: str) -> str:
    """Commit everything; the commit."""
    call("git", "add", "--all")
    call("git", "commit", "--quiet", "--no-verify", "-m", message)
    return call("git", "rev-parse", "HEAD").strip()


def versions() -> tuple[str, str]:
    """Of what a service answers with, as in `/model`, and of the alias."""
    return champion.load(paths.CHAMPION, "cpu").version, model_registry.get_version("tandem", "champion").version


def report() -> str:
    """What `pipelines.doctor` prints about the champion."""
    return " ".join(str(mlflow_store.check_champion()).split())


def test_folder_and_registry_agree_or_the_difference_is_reported_with_what_resolves_it(workspace: Path) -> None:
    call("dvc", "repro")
    commit("torch")
    assert versions() == ("1", "1")
    assert report() == "ok champion version 1 in artifacts/champion and the registry"

    call("dvc", "exp", "run", "--quiet", "--temp", "--name", "better", "-S", "frameworks=[keras]")
    assert versions() == ("1", "1")
    call("dvc", "exp", "apply", "better")
    assert versions() == ("2", "1")
    assert report().startswith("warning champion artifacts/champion has version 2 (")
    assert "models:/tandem@champion is version 1 (" in report()
    assert "`dvc repro --force --single-item promote` compares the candidates of the workspace with it" in report()
    assert "promote: artifacts/champion has version 2 (" in call("dvc", "repro", "--force", "--single-item", "promote")
    assert versions() == ("3", "3")
    assert report().startswith("ok")
    second = commit("keras")

    assert run_main(rollback.main, "--reason", "wrong for 5").returncode == 0
    assert versions() == ("1", "1")
    assert report().startswith("ok")
    assert "up to date" in call("dvc", "repro")
    assert versions() == ("1", "1")
    commit("rolled back")

    call("git", "checkout", "--quiet", second)
    call("dvc", "checkout", "--quiet")
    assert versions() == ("3", "1")
    assert report().startswith("warning champion artifacts/champion has version 3 (")
    assert "up to date" in call("dvc", "repro")
    command = "models:/tandem@champion", "artifacts/champion"
    assert f"`python -m pipelines.registry {' '.join(command)}` restores version 1" in report()
    assert run_main(registry.main, *command).returncode == 0
    assert versions() == ("1", "1")
    assert report().startswith("ok")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the champion `keras-cnn`, version 2, which replaced `torch-cnn`."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        call("dvc", "repro")
        write_params(folder, {"frameworks": ["keras"], "architectures": ["cnn"], "evaluate.device": "cpu"})
        call("dvc", "repro")
        commit("keras")
        assert versions() == ("2", "2")
    return folder


@pytest.fixture
def twice_promoted(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    # MLflow remembers the artifact folder of each run; in this process it would be that of the original.
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    relocation.main()
    assert versions() == ("2", "2")
    return copy


def test_an_experiment_after_a_rollback_does_not_restore_what_was_rolled_back(twice_promoted: Path) -> None:
    done = run_main(rollback.main, "--reason", "wrong for 5")
    failed = start("dvc", "exp", "run", "--set-param", "promote.minimum_gain=0.01")
    assert failed.returncode
    assert "rolled back as version 2: wrong for 5" in failed.stderr
    assert versions() == ("1", "1")
    assert done.stdout.splitlines()[1:] == ["dvc.lock: records version 1 in artifacts/champion"]
    shutil.rmtree(paths.CHAMPION)
    call("dvc", "checkout")
    assert versions() == ("1", "1")


def test_a_rollback_does_not_record_changed_parameters_as_those_of_the_stage(twice_promoted: Path) -> None:
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("minimum_gain: 0.0 ", "minimum_gain: 0.01 "))
    assert run_main(rollback.main, "--reason", "wrong for 5").returncode == 0
    assert call("dvc", "status").split() == ["promote:", "changed", "deps:", "params.yaml:", "modified:", "promote"]
    assert "rolled back as version 2: wrong for 5" in start("dvc", "repro").stderr


def test_a_bundle_from_the_registry_is_recorded(twice_promoted: Path) -> None:
    shutil.rmtree(paths.CHAMPION)
    model_registry.set_alias(model_registry.list_versions("tandem")[0], "champion")
    done = run_main(registry.main, "models:/tandem@champion", "artifacts/champion")
    assert done.stdout.splitlines()[1:] == ["dvc.lock: records version 1 in artifacts/champion"]
    assert "up to date" in call("dvc", "status")


def test_a_rollback_while_dvc_runs_prints_the_command_that_records_it(twice_promoted: Path) -> None:
    recorded = Path("dvc.lock").read_bytes()
    with Repo() as repo, repo.lock:
        done = run_main(rollback.main, "--reason", "wrong for 5")
    assert (done.returncode, versions()) == (0, ("1", "1"))
    (line,) = done.stderr.splitlines()
    assert line.startswith("dvc.lock: does not record version 1 (")
    assert "run `dvc commit --force promote`" in line
    assert Path("dvc.lock").read_bytes() == recorded
