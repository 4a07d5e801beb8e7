"""Commits of the repository, and the files in them."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from models.errors import InputError, one_line


def run(*arguments: str, content: str = "") -> bytes:
    """Standard output of a git command with `content` as its input. Raises InputError where it fails."""
    try:
        done = subprocess.run(["git", *arguments], input=content.encode(), capture_output=True, check=False)
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
    blobs = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in _contents(commit, path)}
    return blobs.get(path) or _of_folder({name.removeprefix(f"{path}/"): value for name, value in blobs.items()})


def md5_of_working_tree(path: Path) -> str | None:
    """The MD5 that DVC records of a file or folder of the working tree; None if it does not exist."""
    if path.is_file():
        return _of_file(path)
    files = (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return _of_folder({file.relative_to(path).as_posix(): _of_file(file) for file in files})


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _of_folder(files: Mapping[str, str]) -> str | None:
    """As dvc_data.hashfile.tree.Tree.digest: of the sorted list of files in JSON."""
    if not files:
        return None
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return f"{hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest()}.dir"


def _contents(commit: str, path: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files at a path."""
    listed = run("ls-tree", "-r", "-z", "--full-tree", commit, "--", path).decode().split("\0")
    blobs = {name: line.split()[2] for line, _, name in (entry.partition("\t") for entry in listed) if name}
    stream = run("cat-file", "--batch", content="".join(f"{blob}\n" for blob in blobs.values()))
    for name in blobs:
        header, _, stream = stream.partition(b"\n")
        size = int(header.split()[2])
        yield name, stream[:size]
        stream = stream[size + 1 :]
