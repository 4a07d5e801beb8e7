"""The origin of a file: the records of its training, from DVC's cache, the workspace or the model registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InputError
from models.export_formats import INT8, ONNX
from pipelines.artifacts import paths, records, training_record
from pipelines.lineage import dvc_lock, git
from pipelines.lineage.dvc_lock import Lock
from pipelines.lineage.subject import Subject
from pipelines.tracking import provenance
from pipelines.tracking.model_registry import ModelVersion


@dataclass(frozen=True)
class Origin:
    """Candidate and name of a file, the record of its training, and the dvc.lock that recorded it, if any."""

    sha256: str
    candidate: str
    file: str
    training: Mapping[str, Any]
    lock: Lock | None

    @property
    def git_commit(self) -> str:
        """The commit that was checked out when it was trained."""
        return str(self.training["git_commit"])

    def other_packages(self) -> list[str]:
        """Packages whose installed version is not that of the training."""
        recorded = self.training.get("versions", {})
        installed = provenance.installed(recorded)
        return [
            f"{name} {version}, installed {installed.get(name, 'none')}"
            for name, version in recorded.items()
            if installed.get(name) != version
        ]


def find(subject: Subject, versions: Sequence[ModelVersion]) -> Origin:
    """Raises InputError if nothing is known about the file."""
    if recorded := dvc_lock.find(subject.sha256):
        return Origin(subject.sha256, recorded.candidate, recorded.file, recorded.training, recorded.lock)
    origin = _of_workspace(subject.sha256) or _of_registry(subject.sha256, versions)
    if origin is None:
        raise InputError(
            f"{subject.text}: nothing is known about SHA-256 {subject.sha256}: it is in no dvc.lock whose outputs are "
            "in DVC's cache (`dvc pull` fetches them from a remote), not in artifacts/exports with its training in "
            "artifacts/checkpoints, and not in the registry"
        )
    return origin


def _of_workspace(sha256: str) -> Origin | None:
    """From artifacts, where a stage ran without DVC; None without the record of the training."""
    for path in sorted(paths.exports("").glob(f"*/{records.PARITY}")):
        candidate = path.parent.name
        is_trained = (paths.checkpoint(candidate) / training_record.FILE).is_file()
        for file, entry in records.parity(candidate)["files"].items():
            if entry["sha256"] == sha256 and is_trained:
                return Origin(sha256, candidate, file, records.training(candidate), None)
    return None


def _of_registry(sha256: str, versions: Sequence[ModelVersion]) -> Origin | None:
    """From the tags of a version."""
    tags = next((version.tags for version in versions if version.tags.get("sha256") == sha256), None)
    if tags is None:
        return None
    name = tags["candidate"]
    training = {key: tags[key] for key in ("run_id", "git_commit", "data_sha256")}
    framework, architecture, *_ = name.split("-")
    training |= {"framework": framework, "architecture": architecture}
    file = INT8 if name.endswith("-int8") else ONNX
    return Origin(sha256, name.removesuffix("-int8"), file, training, None)


def commit_to_rebuild(origin: Origin) -> tuple[str, list[str]]:
    """The commit that has the code and parameters of the file; empty if none has, with what differs in the nearest."""
    if origin.lock is None:
        return (origin.git_commit, []) if git.exists(origin.git_commit) else ("", ["the commit does not exist"])
    head = git.run("rev-parse", "HEAD").decode().strip()
    commits = dict.fromkeys(filter(None, (origin.git_commit, origin.lock.commit, head)))
    differing = {commit: origin.lock.differences(origin.candidate, commit) for commit in commits if git.exists(commit)}
    nearest = min(differing, key=lambda commit: len(differing[commit]))
    return ("" if differing[nearest] else nearest), differing[nearest]
