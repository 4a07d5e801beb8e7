"""The origin of the files of a pipeline, what of it still exists, and their rebuild."""

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipelines.artifacts.hashing import hash_files
from pipelines.lineage import __main__ as lineage
from pipelines.lineage import rebuild
from tests.pipelines.workspace import assert_one_error_line, run_main
from tests.tiny_pipeline import Workspace

REQUEST = "7d0c2b"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("TANDEM_PREDICTION_LOG", raising=False)


@pytest.fixture
def log(pipeline: Workspace, tmp_path: Path) -> Path:
    """A prediction log with two requests, one of which a client has numbered, and lines of none."""
    champion = pipeline.read("artifacts/champion/champion.json")
    line = {"request_id": REQUEST, "version": "1", "sha256": champion["model"]["sha256"]}
    other = {**line, "request_id": "other", "note": REQUEST}
    lines = [
        json.dumps(other),
        f'{{"request_id": "{REQUEST}"',
        json.dumps(line),
        json.dumps({**line, "request_id": "42"}),
    ]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "host-1.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path / "log"


def trace(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> subprocess.CompletedProcess[str]:
    monkeypatch.chdir(workspace.root)
    return run_main(lineage.main, *arguments)


def rows(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]


def head(workspace: Workspace) -> str:
    return workspace.run("git", "rev-parse", "HEAD").stdout.strip()


@pytest.mark.parametrize("kind", ["version", "request", "number of a request", "file"])
def test_version_request_and_file_lead_to_the_same_origin(pipeline, log, monkeypatch, kind):
    champion = pipeline.read("artifacts/champion/champion.json")
    name = champion["name"].removesuffix("-int8")
    file = f"artifacts/champion/{champion['model']['file']}"
    requests = {kind: [name, "--log", str(log)] for kind, name in (("request", REQUEST), ("number of a request", "42"))}
    arguments = {"version": ["1"], "file": [file], **requests}[kind]
    done = trace(pipeline, monkeypatch, *arguments)
    assert done.returncode == 0, done.stderr
    for words in (
        ["version", "1", "of", "tandem", "exists"],
        ["MLflow", "run", champion["provenance"]["run_id"], "exists,", "FINISHED"],
        ["git", "commit", head(pipeline), "exists"],
        ["data", "SHA-256", champion["provenance"]["data_sha256"], "exists", "in", "artifacts/data"],
        ["dvc.lock", "of", "the", "working", "tree"],
        ["models.cnn.dense", "16"],
    ):
        assert words in rows(done.stdout)
    assert f"SHA-256 {champion['model']['sha256']}" in done.stdout
    for stage in ("load", "prepare", f"train@{name}", f"export@{name}"):
        assert any(words[:1] == [stage] and words[-3:] == ["in", "DVC's", "cache"] for words in rows(done.stdout))
    assert f"rebuild: identical from commit {head(pipeline)}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["99"], ["version 99 is not known", "allowed: 1"]),
        (["nothing"], ["no such file", "--log FOLDER", "TANDEM_PREDICTION_LOG"]),
        (["nothing", "--log", "."], [".: contains no prediction log"]),
        (["nothing", "--log", "LOG"], ["no such request in 1 file of "]),
        (["99", "--log", "LOG"], ["99: no such file or version, and no such request in 1 file of "]),
        (["params.yaml"], ["nothing is known about SHA-256", "dvc pull"]),
    ],
)
def test_what_is_unknown_is_named(pipeline, log, monkeypatch, arguments, words):
    arguments = [str(log) if argument == "LOG" else argument for argument in arguments]
    assert_one_error_line(trace(pipeline, monkeypatch, *arguments), *words)


def commit(workspace: Workspace, path: str, text: str) -> str:
    """Append to a file and commit; the new commit."""
    with (workspace.root / path).open("a", encoding="utf-8") as file:
        file.write(text)
    assert workspace.run("git", "commit", "--all", "--quiet", "--no-verify", "-m", "change").returncode == 0
    return head(workspace)


def test_an_earlier_commit_is_found_again_by_what_dvc_lock_recorded(copy, monkeypatch):
    workspace, before = copy, head(copy)
    workspace.run("git", "add", "--force", "dvc.lock")
    commit(workspace, "models/torch/fit.py", "# changed\n")
    (workspace.root / "dvc.lock").write_text("stages: {}\n", "utf-8")
    done = trace(workspace, monkeypatch, "artifacts/exports/torch-cnn/model.onnx")
    assert f"dvc.lock of commit {head(workspace)}".split() in rows(done.stdout)
    assert f"rebuild: identical from commit {before}" in done.stdout


@pytest.mark.parametrize("name", ["models/torch/fit.py", "pipelines/train", "train"])
def test_code_and_parameters_that_were_never_committed_are_named(copy, monkeypatch, name):
    """As if the file had been trained with what no commit contains."""
    yaml, path = YAML(), copy.root / "dvc.lock"
    lock = yaml.load(path)
    stage = lock["stages"]["train@torch-cnn"]
    if name == "train":
        stage["params"]["params.yaml"]["train"]["seed"] = 1
    else:
        (dep,) = (dep for dep in stage["deps"] if dep["path"] == name)
        dep["md5"] = dep["md5"].replace(dep["md5"][:32], "0" * 32)
    yaml.dump(lock, path)
    done = trace(copy, monkeypatch, "artifacts/exports/torch-cnn/model.onnx")
    assert done.returncode == 0, done.stderr
    assert (
        f"rebuild: not possible, as no commit has its code and parameters; nearest one without: {name}" in done.stdout
    )
    done = trace(copy, monkeypatch, "artifacts/exports/torch-cnn/model.onnx", "--rebuild")
    assert_one_error_line(done, "torch-cnn/model.onnx cannot be rebuilt", name)


def test_what_was_deleted_is_named(copy, monkeypatch):
    run_id = copy.read("artifacts/checkpoints/torch-cnn/run.json")["run_id"]
    shutil.rmtree(copy.root / "artifacts" / "data")
    (copy.root / "mlflow.db").unlink()
    (raw,) = (copy.root / ".dvc" / "cache").rglob(hash_of(copy, "artifacts/data/raw"))
    raw.unlink()
    done = trace(copy, monkeypatch, "artifacts/exports/torch-cnn/model.int8.onnx")
    assert ["MLflow", "run", run_id, "not", "in", f"sqlite:///{copy.root}/mlflow.db"] in rows(done.stdout)
    assert any(words[:3] == ["load", "artifacts/data/raw,", "MD5"] and "not" in words for words in rows(done.stdout))
    assert "not in artifacts/data" in done.stdout
    assert not (copy.root / "mlflow.db").exists()


def hash_of(workspace: Workspace, path: str) -> str:
    """The end of the name in DVC's cache of an output."""
    lock = (workspace.root / "dvc.lock").read_text("utf-8")
    return lock[lock.rindex(f"path: {path}\n") :].split("md5: ")[1].split()[0][2:]


def contents(workspace: Workspace) -> dict[str, bytes]:
    """SHA-256 of each file, but for those that git and DVC write when they look."""
    files = workspace.files(".").items()
    kept = {name: content for name, content in files if not name.startswith((".git/", ".dvc/tmp/"))}
    return {name: hashlib.sha256(content).digest() for name, content in kept.items()}


def test_a_file_is_rebuilt_identically_and_nothing_else_changes(copy, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    trace(copy, monkeypatch, "1")  # corrects the addresses in the copied MLflow store
    before, refs = contents(copy), copy.run("git", "for-each-ref").stdout
    done = trace(copy, monkeypatch, "artifacts/exports/torch-cnn/model.onnx", "--rebuild")
    assert done.returncode == 0, done.stderr
    sha256 = hash_files([copy.root / "artifacts" / "exports" / "torch-cnn" / "model.onnx"])
    assert f"rebuilt model.onnx is identical: SHA-256 {sha256}" in done.stdout
    assert contents(copy) == before
    assert copy.run("git", "for-each-ref").stdout == refs
    assert len(copy.run("git", "worktree", "list").stdout.splitlines()) == 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_rebuilt_file_that_differs_is_an_error(pipeline, monkeypatch):
    monkeypatch.setattr(rebuild, "rebuild", lambda *_: "f" * 64)
    done = trace(pipeline, monkeypatch, "1", "--rebuild")
    assert_one_error_line(done, "rebuilt model", f"differs: SHA-256 {'f' * 64} in place of")
