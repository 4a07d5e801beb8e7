"""Hashes of files and folders, in commits and in the working tree, are those that DVC records."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from models.errors import InputError
from pipelines.lineage import git, rebuild
from pipelines.lineage.dvc_lock import Lock
from pipelines.lineage.origin import Origin

FILES = {"data/b.csv": "x\n1\n", "data/a/ä.csv": "y\r\n2", "data/a-b/c.csv": "", "data/.hidden": "z", "one.csv": "x"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def recorded(path: str) -> str:
    return str(YAML(typ="safe").load(Path(f"{path}.dvc"))["outs"][0]["md5"])


def commit_all(folder: Path) -> str:
    person = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "--force", *FILES], [*person, "commit", "-q", "--no-verify", "-m", "data"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return git.run("rev-parse", "HEAD").decode().strip()


@pytest.mark.parametrize("path", ["data", "one.csv"])
def test_hashes_are_those_of_dvc(folder, path):
    commit = commit_all(folder)
    with Repo.init(folder, no_scm=True) as repo:
        repo.add([path])
    assert git.md5(commit, path) == git.md5_of_working_tree(Path(path)) == recorded(path)
    (folder / "one.csv").write_text("changed")
    (folder / "data" / "b.csv").write_text("changed")
    assert git.md5(commit, path) == recorded(path) != git.md5_of_working_tree(Path(path))


def test_what_does_not_exist_has_no_hash(folder):
    commit = commit_all(folder)
    assert git.md5(commit, "nothing") is None
    assert git.md5_of_working_tree(Path("nothing")) is None
    assert git.read(commit, "nothing") is None
    assert not git.exists("0" * 40)
    assert git.exists(commit)
    with pytest.raises(InputError, match="git show: "):
        git.run("show", "nothing")


def test_data_that_git_does_not_contain_are_copied_for_a_rebuild(folder, tmp_path):
    """But neither code nor outputs, nor files outside of the repository, which have the same path everywhere."""
    (folder / "models").mkdir()
    (folder / "models" / "new.py").write_text("")
    deps = [
        {"path": path}
        for path in ("data", "one.csv", "models/new.py", "artifacts/checked.txt", str(folder / "one.csv"))
    ]
    origin = Origin("", "torch-cnn", "model.onnx", {}, Lock("", {"load": {"deps": deps}}))
    (tmp_path / "worktree" / "data").mkdir(parents=True)
    (tmp_path / "worktree" / "data" / "b.csv").write_text("of the commit")
    rebuild._copy_data(tmp_path / "worktree", origin)
    found = {path.relative_to(tmp_path / "worktree").as_posix(): path for path in (tmp_path / "worktree").rglob("*.*")}
    assert set(found) == set(FILES)
    assert found["data/b.csv"].read_text() == "of the commit"
    assert found["data/a/ä.csv"].read_bytes() == FILES["data/a/ä.csv"].encode()
