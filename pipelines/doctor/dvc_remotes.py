"""Whether the remotes of DVC answer: `python -m pipelines.doctor.dvc_remotes`. Prints a list of findings as JSON."""

import json
from dataclasses import asdict

from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo

from pipelines.cli import stage
from pipelines.doctor.finding import Finding

NONE = Finding("ok", "DVC remotes", "none configured; data and models stay on this machine")


def main() -> None:
    """A finding for each remote that is configured."""
    print(json.dumps([asdict(finding) for finding in look()]))


def look() -> list[Finding]:
    """Each remote is asked for its own folder, which the first `dvc push` makes."""
    try:
        with Repo() as repo:
            return [_look(repo, name) for name in repo.config["remote"]] or [NONE]
    except NotDvcRepoError as error:
        return [Finding("warning", "DVC remotes", str(error), "run from the root of the repository")]


def _look(repo: Repo, name: str) -> Finding:
    subject = f"DVC remote {name}"
    try:
        store = repo.cloud.get_remote(name)
        there = store.fs.exists(store.path)
    except Exception as error:  # each kind of remote has its own
        return Finding("warning", subject, str(error), "`dvc push` and `dvc pull` will fail")
    if not there:
        return Finding("warning", subject, f"{store.path} is not there", "`dvc push` makes it if it can")
    return Finding("ok", subject, f"{store.path} answers")


if __name__ == "__main__":
    stage.run(main)
