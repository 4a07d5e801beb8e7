"""`dvc.lock` in the working tree and in each commit: which of them recorded a file, and from what."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dvc.repo import Repo

from models.errors import InputError
from pipelines.artifacts import paths, records, training_record
from pipelines.config import yaml_model
from pipelines.lineage import git

FILE, PARAMS = "dvc.lock", "params.yaml"
CODE = ("models", "pipelines")


@dataclass(frozen=True)
class Output:
    """An output of a stage: its MD5 in dvc.lock, and whether DVC's cache has all of it."""

    stage: str
    path: str
    md5: str
    is_cached: bool


@dataclass(frozen=True)
class Lock:
    """The stages of a dvc.lock; `commit` is empty for that of the working tree."""

    commit: str
    stages: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The place of the file, for display."""
        return f"commit {self.commit}" if self.commit else "the working tree"

    def chain(self, candidate: str) -> dict[str, Mapping[str, Any]]:
        """The stages that lead to the exported files of a candidate."""
        names = ("load", "prepare", f"train@{candidate}", f"export@{candidate}")
        return {name: self.stages[name] for name in names if name in self.stages}

    def outputs(self, candidate: str) -> list[Output]:
        """The outputs of these stages."""
        return [
            Output(name, out["path"], out["md5"], _is_cached(out["md5"]))
            for name, stage in self.chain(candidate).items()
            for out in stage.get("outs", ())
        ]

    def differences(self, candidate: str, commit: str) -> list[str]:
        """The code and parameters of a commit, and the source data, that are not those of these stages."""
        stages = self.chain(candidate).values()
        deps = {dep["path"]: dep["md5"] for stage in stages for dep in stage["deps"] if not _is_output(dep["path"])}
        changed = [path for path, md5 in deps.items() if md5 not in (git.md5(commit, path), _md5_on_disk(path))]
        values = {key: value for stage in stages for key, value in stage.get("params", {}).get(PARAMS, {}).items()}
        parameters = _of_commit(commit, PARAMS) or {}
        return [*changed, *(key for key, value in values.items() if _lookup(parameters, key) != value)]


@dataclass(frozen=True)
class Recorded:
    """An exported file that a dvc.lock recorded, with the records of its training and export from DVC's cache."""

    lock: Lock
    candidate: str
    file: str
    training: Mapping[str, Any]
    parity: Mapping[str, Any]


def find(sha256: str) -> Recorded | None:
    """The newest record of the file with this SHA-256; None if there is none whose outputs are in the cache.

    Raises InputError as `locks`.
    """
    return next(
        (each for lock in locks() for each in _exported(lock) if each.parity[each.file]["sha256"] == sha256), None
    )


def locks() -> Iterator[Lock]:
    """That of the working tree, and that of each commit that changed it and in which it is valid, the newest first.

    Raises InputError if that of the working tree is not valid, as while a merge has conflicts.
    """
    path = Path(FILE)
    if path.is_file():
        yield Lock("", _mapping(path).get("stages", {}))
    for commit in git.changes_of(FILE):
        if (content := _of_commit(commit, FILE)) is not None:
            yield Lock(commit, content.get("stages", {}))


def _exported(lock: Lock) -> Iterator[Recorded]:
    """Each exported file of a lock whose parity report and record of the training are in the cache."""
    for name in lock.stages:
        stage, _, candidate = name.partition("@")
        if stage != "export":
            continue
        parity = _cached_json(lock, name, paths.exports(candidate).as_posix(), records.PARITY)
        training = _cached_json(
            lock, f"train@{candidate}", paths.checkpoint(candidate).as_posix(), training_record.FILE
        )
        for file in parity["files"] if parity and training else ():
            yield Recorded(lock, candidate, file, training, parity["files"])


def _cached_json(lock: Lock, stage: str, folder: str, name: str) -> Any:
    """A JSON file in a folder that a stage wrote; None if it is not in the cache."""
    outs = {out["path"]: out["md5"] for out in lock.stages.get(stage, {}).get("outs", ())}
    listed = _listing(outs.get(folder, ""))
    path = next((_cached(entry["md5"]) for entry in listed if entry["relpath"] == name), None)
    return json.loads(path.read_text("utf-8")) if path and path.is_file() else None


def _listing(md5: str) -> list[dict[str, str]]:
    """The files of a folder with their MD5; empty if the cache does not have it."""
    path = _cached(md5)
    return list(json.loads(path.read_text("utf-8"))) if md5 and path.is_file() else []


def _is_cached(md5: str) -> bool:
    if md5.endswith(".dir"):
        listed = _listing(md5)
        return bool(listed) and all(_cached(entry["md5"]).is_file() for entry in listed)
    return _cached(md5).is_file()


def _cached(md5: str) -> Path:
    return _cache(Path.cwd()) / md5[:2] / md5[2:]


@cache
def _cache(workspace: Path) -> Path:
    """The folder of DVC's cache, as the configuration of a workspace names it."""
    with Repo(workspace) as repo:
        return Path(repo.cache.local.path)


def _is_output(path: str) -> bool:
    return paths.ARTIFACTS in Path(path).parents


def _md5_on_disk(path: str) -> str | None:
    """The MD5 of source data in the working tree, of which git may not know all; None of code."""
    return None if Path(path).parts[0] in CODE else git.md5_of_working_tree(Path(path))


def _of_commit(commit: str, path: str) -> Mapping[str, Any] | None:
    """The content of a YAML file of a commit; None if the commit has none, or one that is not valid."""
    try:
        text = git.read(commit, path)
        return None if text is None else _mapping(text)
    except (InputError, UnicodeDecodeError):
        return None


def _mapping(source: Path | str) -> Mapping[str, Any]:
    """The content of a YAML file or text. Raises InputError where it has no keys."""
    content = yaml_model.load(source, FILE) or {}
    if not isinstance(content, Mapping):
        raise InputError(f"{FILE}: holds {type(content).__name__}; allowed: a section with keys")
    return content


def _lookup(values: Any, key: str) -> Any:
    """The value of a dotted key, or None."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
