"""Commits of the repository, and the files in them."""

import subprocess
from contextlib import suppress
from pathlib import Path

from dvc.fs import FileSystem, GitFileSystem, LocalFileSystem, MemoryFileSystem
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB

from models.errors import InputError, one_line


def run(*arguments: str) -> bytes:
    """Standard output of a git command. Raises InputError where it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise InputError("git is not installed") from error
    if done.returncode:
        raise InputError(f"git {arguments[0]}: {one_line(done.stderr.decode())}")
    return done.stdout


def exists(commit: str) -> bool:
    """True if the repository has the commit."""
    try:
        run("cat-file", "-e", f"{commit}^{{commit}}")
    except InputError:
        return False
    return True


def changes_of(path: str) -> list[str]:
    """The commits that changed a file, the newest first; of all branches and experiments."""
    return run("log", "--all", "--format=%H", "--", path).decode().split()


def read(commit: str, path: str) -> str | None:
    """A text file of a commit, or None if the commit has no such file."""
    try:
        return run("show", f"{commit}:{path}").decode()
    except InputError:
        return None


def md5(commit: str, path: str) -> str | None:
    """The MD5 that DVC records of a file or folder of a commit; None if the commit has none at this path."""
    return _md5(GitFileSystem(Path.cwd(), commit), f"/{path}")


def md5_of_working_tree(path: Path) -> str | None:
    """The MD5 that DVC records of a file or folder of the working tree; None if it does not exist."""
    return _md5(LocalFileSystem(), str(path.absolute()))


def _md5(files: FileSystem, path: str) -> str | None:
    with suppress(FileNotFoundError):
        store = HashFileDB(MemoryFileSystem(), "/")  # takes nothing
        _, _, content = build(store, path, files, "md5", dry_run=True)
        return str(content.hash_info.value)
    return None
