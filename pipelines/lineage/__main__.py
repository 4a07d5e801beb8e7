"""Trace an ONNX file to its origin: `python -m pipelines.lineage VERSION|REQUEST-ID|FILE`.

Prints the MLflow run, git commit, dvc.lock entries, data hash, package versions and parameters that it was made from,
which of them still exist, and whether a rebuilt file would be identical. `--rebuild` rebuilds it in a clean git
worktree and compares the SHA-256; nothing else is changed. The exit status is 1 where it differs.
"""

import argparse
from pathlib import Path

from models.errors import InputError
from pipelines.artifacts import log_files
from pipelines.config import params
from pipelines.execution import stage
from pipelines.lineage import rebuild, report, subject
from pipelines.lineage.origin import commit_to_rebuild, find
from pipelines.tracking import location, model_registry


def main() -> None:
    """Trace what the command line names. Raises InputError if it is unknown or cannot be rebuilt."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.lineage", description=__doc__)
    parser.add_argument("name", metavar="VERSION|REQUEST-ID|FILE")
    log_files.add_argument(parser)
    parser.add_argument("--rebuild", action="store_true", help="rebuild the file and compare its SHA-256")
    arguments = parser.parse_args()
    trace(arguments.name, params.read().promote.model_name, arguments.log, arguments.rebuild)


def trace(name: str, model_name: str, log: Path | None, is_rebuilt: bool) -> None:
    """Print the lineage of what `name` names, and rebuild it if asked to."""
    versions = model_registry.list_versions(model_name) if location.exists() else []
    traced = subject.resolve(name, versions, log)
    origin = find(traced, versions)
    run = model_registry.read_run(str(origin.training["run_id"])) if location.exists() else None
    commit, differing = commit_to_rebuild(origin)
    print(report.text(traced, origin, versions, run, commit, differing), flush=True)
    if not is_rebuilt:
        return
    if not commit:
        raise InputError(
            f"{origin.candidate}/{origin.file} cannot be rebuilt: {report.verdict(origin, commit, differing)}"
        )
    sha256 = rebuild.rebuild(origin, commit)
    if sha256 != origin.sha256:
        raise InputError(f"rebuilt {origin.file} differs: SHA-256 {sha256} in place of {origin.sha256}")
    print(f"rebuilt {origin.file} is identical: SHA-256 {sha256}", flush=True)


if __name__ == "__main__":
    stage.run(main)
