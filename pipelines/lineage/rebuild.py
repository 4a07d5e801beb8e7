"""Rebuild of a file in a clean git worktree, with a DVC cache and an MLflow store of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from models.errors import InputError
from pipelines.artifacts import paths
from pipelines.artifacts.hashing import hash_files
from pipelines.lineage import dvc_lock, git
from pipelines.lineage.origin import Origin

# A store, a cache or an import path of the user must not reach the rebuild.
REMOVED = ("MLFLOW_", "DVC_", "GIT_", "PYTHONPATH")


def rebuild(origin: Origin, commit: str) -> str:
    """Train and export again from a commit; the SHA-256 of the file. Raises InputError where a stage fails."""
    with _worktree(commit) as folder:
        _copy_data(folder, origin)
        command = [sys.executable, "-m", "dvc", "repro", "--quiet", f"export@{origin.candidate}"]
        done = subprocess.run(command, cwd=folder, env=_environment(folder), check=False)
        if done.returncode:
            raise InputError(f"`dvc repro export@{origin.candidate}` failed in commit {commit}")
        return hash_files([folder / paths.exports(origin.candidate) / origin.file])


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """A worktree without results of earlier runs, removed afterwards."""
    with TemporaryDirectory(prefix="tandem-rebuild-") as parent:
        folder = Path(parent) / "worktree"
        git.run("worktree", "add", "--detach", str(folder), commit)
        try:
            (folder / dvc_lock.FILE).unlink(missing_ok=True)
            (folder / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n", "utf-8")
            yield folder
        finally:
            git.run("worktree", "remove", "--force", str(folder))


def _copy_data(folder: Path, origin: Origin) -> None:
    """Add source data that git does not contain, such as a table in the folder `data`."""
    sources = origin.lock.stages["load"]["deps"] if origin.lock else []
    for path in (Path(dep["path"]) for dep in sources):
        is_of_user = not path.is_absolute() and path.parts[0] not in (*dvc_lock.CODE, paths.ARTIFACTS.name)
        for file in [path, *path.rglob("*")] if is_of_user else []:
            if file.is_file() and not (folder / file).exists():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, folder / file)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(REMOVED)}
    programs = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": programs, "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site")}
