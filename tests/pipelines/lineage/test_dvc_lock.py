"""Records of a file in DVC's cache, which may have only some of the outputs."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from models.errors import InputError
from pipelines.artifacts import paths, records, training_record
from pipelines.lineage import dvc_lock, git, origin
from pipelines.lineage.subject import Subject

SHA256 = "a" * 64
OUTPUTS = {
    "train@torch-cnn": (paths.checkpoint("torch-cnn"), training_record.FILE, {"run_id": "1"}),
    "export@torch-cnn": (
        paths.exports("torch-cnn"),
        records.PARITY,
        {"files": {"model.onnx": {"sha256": SHA256}}},
    ),
}


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The listing in the cache of the output of each stage of a dvc.lock."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    with Repo.init(tmp_path) as repo:
        cache = Path(repo.cache.local.path)
    stages, listings = {}, {}
    for stage, (folder, name, content) in OUTPUTS.items():
        md5 = _store(cache, json.dumps(content), "")
        listing = _store(cache, json.dumps([{"md5": md5, "relpath": name}]), ".dir")
        stages[stage] = {"cmd": "", "outs": [{"path": folder.as_posix(), "md5": listing}]}
        listings[stage] = cache / listing[:2] / listing[2:]
    YAML().dump({"schema": "2.0", "stages": stages}, tmp_path / dvc_lock.FILE)
    return listings


def _store(cache: Path, text: str, suffix: str) -> str:
    md5 = hashlib.md5(text.encode()).hexdigest() + suffix
    (cache / md5[:2]).mkdir(parents=True, exist_ok=True)
    (cache / md5[:2] / md5[2:]).write_text(text, "utf-8")
    return md5


def test_a_file_is_known_by_its_export_and_its_training(cached):
    found = dvc_lock.find(SHA256)
    assert found is not None
    assert (found.candidate, found.file, found.training) == ("torch-cnn", "model.onnx", {"run_id": "1"})


@pytest.mark.parametrize("stage", OUTPUTS)
def test_without_one_of_them_the_advice_is_to_fetch_the_outputs(cached, stage):
    cached[stage].unlink()
    assert dvc_lock.find(SHA256) is None
    folder, name, content = OUTPUTS["export@torch-cnn"]  # as `dvc pull` of this output leaves it in the workspace
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match=r"nothing is known about SHA-256 a+: .*dvc pull"):
        origin.find(Subject(SHA256, "model.onnx"), [])


CONFLICT = "<<<<<<< HEAD\nstages:\n  a: 1\n=======\nstages:\n  a: 2\n>>>>>>> branch\n"


def _commit(*paths: str) -> str:
    """A commit of files of the working tree."""
    subprocess.run(["git", "add", *paths], check=True)
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *identity, "commit", "-q", "--no-verify", "-m", "test", *paths], check=True)
    return git.run("rev-parse", "HEAD").decode().strip()


@pytest.mark.parametrize("damaged", [CONFLICT, "a: 2026-02-30\n", "- 1\n", "\xff"])
def test_commits_with_a_damaged_lock_are_skipped(cached, damaged):
    lock = Path(dvc_lock.FILE)
    commit = _commit(dvc_lock.FILE)
    lock.write_text(damaged, "latin-1")
    _commit(dvc_lock.FILE)
    lock.unlink()
    assert dvc_lock.find(SHA256).lock.commit == commit


def test_a_damaged_lock_of_the_working_tree_is_an_error_in_one_line(cached):
    Path(dvc_lock.FILE).write_text(CONFLICT, "utf-8")
    with pytest.raises(InputError, match=r"dvc\.lock: not valid YAML: line \d+, column \d+: [^\n]+\Z"):
        dvc_lock.find(SHA256)


def test_a_commit_with_damaged_parameters_does_not_have_those_of_a_stage(cached):
    Path(dvc_lock.PARAMS).write_text(CONFLICT, "utf-8")
    stage = {"deps": (), "params": {dvc_lock.PARAMS: {"train.epochs": 1}}}
    lock = dvc_lock.Lock("", {"train@torch-cnn": stage})
    assert lock.differences("torch-cnn", _commit(dvc_lock.PARAMS)) == ["train.epochs"]
