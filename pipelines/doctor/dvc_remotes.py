"""Check that the DVC remotes can be reached: `python -m pipelines.doctor.dvc_remotes`.

Prints the list of results as JSON.
"""

import json
from dataclasses import asdict

from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo

from pipelines.cli import stage
from pipelines.doctor.check_result import CheckResult

NONE = CheckResult("ok", "DVC remotes", "none configured; data and models stay on this machine")


def main() -> None:
    """Print the results."""
    print(json.dumps([asdict(result) for result in check()]))


def check() -> list[CheckResult]:
    """One result per remote: whether its folder, which the first `dvc push` creates, exists."""
    try:
        with Repo() as repo:
            return [_check(repo, name) for name in repo.config["remote"]] or [NONE]
    except NotDvcRepoError as error:
        return [CheckResult("warning", "DVC remotes", str(error), "run from the root of the repository")]


def _check(repo: Repo, name: str) -> CheckResult:
    subject = f"DVC remote {name}"
    try:
        store = repo.cloud.get_remote(name)
        exists = store.fs.exists(store.path)
    except Exception as error:  # each kind of remote has its own types
        return CheckResult("warning", subject, str(error), "`dvc push` and `dvc pull` will fail")
    if not exists:
        return CheckResult("warning", subject, f"{store.path} does not exist", "`dvc push` creates it if permitted")
    return CheckResult("ok", subject, f"{store.path} is reachable")


if __name__ == "__main__":
    stage.run(main)
