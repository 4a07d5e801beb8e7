"""The file that the command line names: by version, by request id of the prediction log, or by path."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError
from pipelines.artifacts import bundle, log_files, paths
from pipelines.artifacts.hashing import hash_files
from pipelines.execution.counts import counted
from pipelines.tracking.model_registry import ModelVersion


@dataclass(frozen=True)
class Subject:
    """The SHA-256 of an ONNX file, and what named it."""

    sha256: str
    text: str


def resolve(argument: str, versions: Sequence[ModelVersion], log: Path | None) -> Subject:
    """A file if there is one, else a version if there is one, else a request id. Raises InputError if unknown."""
    if Path(argument).is_file():
        return Subject(hash_files([Path(argument)]), f"file {argument}")
    known = _known(versions) if argument.isdecimal() else {}
    if argument in known:
        return Subject(known[argument], f"version {argument}")
    if log is not None:
        return _request(argument, log)
    if argument.isdecimal():
        raise InputError(f"version {argument} is not known; allowed: {', '.join(known) or 'none before `dvc repro`'}")
    raise InputError(
        f"{argument}: no such file, and no version, which is a number; for a request id give --log FOLDER or set "
        f"{log_files.VARIABLE}"
    )


def _known(versions: Sequence[ModelVersion]) -> dict[str, str]:
    """The SHA-256 of each version in the registry, and of the one in the bundle of the workspace."""
    known = {version.version: version.tags["sha256"] for version in versions if "sha256" in version.tags}
    with suppress(InputError):  # missing or damaged, which is no reason not to find another version
        manifest = bundle.read(paths.CHAMPION)
        known.setdefault(str(manifest["version"]), str(manifest["model"]["sha256"]))
    return known


def _request(request_id: str, log: Path) -> Subject:
    files, text = log_files.find(log), request_id.encode(errors="replace")
    for line in log_files.lines(files):
        if text in line and (subject := _logged(line, request_id)):
            return subject
    raise InputError(
        f"{request_id}: no such file or version, and no such request in {counted(len(files), 'file')} of {log}"
    )


def _logged(line: bytes, request_id: str) -> Subject | None:
    """The model that a line names; None for another request, or a line that is not whole."""
    try:
        entry = json.loads(line)
        if entry["request_id"] != request_id:
            return None
        return Subject(str(entry["sha256"]), f"request {request_id}, answered by version {entry['version']}")
    except (ValueError, KeyError, TypeError):
        return None
