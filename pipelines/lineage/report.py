"""The lineage of a file as text."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from pipelines.artifacts import json_object, paths, validation_report
from pipelines.lineage import git
from pipelines.lineage.origin import Origin
from pipelines.lineage.subject import Subject
from pipelines.tracking import location
from pipelines.tracking.model_registry import ModelVersion, RunRecord


def text(
    subject: Subject,
    origin: Origin,
    versions: Sequence[ModelVersion],
    run: RunRecord | None,
    commit: str,
    differing: Sequence[str],
) -> str:
    """The origin of the file, which parts of it exist, and whether it can be rebuilt identically."""
    facts = [
        ("named by", subject.text, ""),
        ("file", f"{origin.candidate}/{origin.file}", f"SHA-256 {origin.sha256}"),
        *_versions(origin, versions),
        _run(origin, run),
        _commit(origin),
        _data(origin),
        *_packages(origin),
        *_outputs(origin),
    ]
    parts = [tabulate(facts, tablefmt="plain", disable_numparse=True), _parameters(origin, run)]
    return "\n\n".join([*filter(None, parts), f"rebuild: {verdict(origin, commit, differing)}"])


def verdict(origin: Origin, commit: str, differing: Sequence[str]) -> str:
    """Whether a rebuilt file would be identical, and if not, why."""
    if not commit:
        return f"not possible, as no commit has its code and parameters; nearest one without: {', '.join(differing)}"
    if others := origin.other_packages():
        return f"from commit {commit}, but may differ, as packages do: {'; '.join(others)}"
    if origin.lock is None:
        return f"from commit {commit}; no dvc.lock recorded the file, so it is not known whether it would be identical"
    return f"identical from commit {commit}, on the same kind of processor"


def _versions(origin: Origin, versions: Sequence[ModelVersion]) -> Iterator[tuple[str, str, str]]:
    for version in versions:
        if version.tags.get("sha256") == origin.sha256:
            yield "version", f"{version.version} of {version.name}", "exists"


def _run(origin: Origin, run: RunRecord | None) -> tuple[str, str, str]:
    place = f"exists, {run.status}" if run else f"not in {location.public_uri()}"
    return "MLflow run", str(origin.training["run_id"]), place


def _commit(origin: Origin) -> tuple[str, str, str]:
    state = "exists" if git.exists(origin.git_commit) else "not in this repository"
    dirty = ", with uncommitted changes" if origin.training.get("git_dirty") else ""
    return "git commit", origin.git_commit, f"{state}{dirty}"


def _data(origin: Origin) -> tuple[str, str, str]:
    """The data that it was trained on, compared with that of the workspace."""
    expected, path = str(origin.training["data_sha256"]), paths.DATA_REPORT / validation_report.FILE
    if not path.is_file():
        return "data SHA-256", expected, "not in artifacts/data"
    same = validation_report.read(path)["data_sha256"] == expected
    return "data SHA-256", expected, "exists in artifacts/data" if same else "artifacts/data has other data"


def _packages(origin: Origin) -> Iterator[tuple[str, str, str]]:
    recorded = origin.training.get("versions", {})
    others = {one.split()[0] for one in origin.other_packages()}
    for name, version in recorded.items():
        yield "package", f"{name} {version}", "not the installed version" if name in others else "installed"


def _outputs(origin: Origin) -> Iterator[tuple[str, str, str]]:
    """The entries of dvc.lock."""
    if origin.lock is None:
        yield "dvc.lock", "no entry", "or its outputs are not in DVC's cache"
        return
    yield "dvc.lock", f"of {origin.lock.where}", ""
    for out in origin.lock.outputs(origin.candidate):
        yield out.stage, f"{out.path}, MD5 {out.md5}", "in DVC's cache" if out.is_cached else "not in DVC's cache"


def _parameters(origin: Origin, run: RunRecord | None) -> str:
    """From the record of the training, or from its run."""
    recorded = dict(json_object.flatten(origin.training.get("params", {}))) or (run.params if run else {})
    architecture = f"{origin.training['architecture']}."
    recorded = {f"models.{name}" if name.startswith(architecture) else name: recorded[name] for name in recorded}
    rows = [(name, str(value)) for name, value in recorded.items() if value not in (None, [], "None", "[]")]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)
