"""Check that the MLflow store can be reached and agrees with the workspace on the champion.

`python -m pipelines.doctor.mlflow_store` prints the list of results as JSON.
"""

import json
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from models.errors import InputError
from pipelines.artifacts import paths
from pipelines.config import params
from pipelines.doctor.check_result import CheckResult
from pipelines.execution import stage
from pipelines.tracking import divergence, location, model_registry, store


def main() -> None:
    """Print the results."""
    print(json.dumps([asdict(result) for result in (check(), check_champion())]))


def check() -> CheckResult:
    """The result. A database file that does not exist yet is not opened, as that would create it."""
    if missing := _missing_file():
        return CheckResult("ok", "MLflow store", f"{missing} does not exist yet; the first run creates it")
    try:
        store.require_reachable()
        outdated = store.outdated_artifact_folders()
    except InputError as error:
        return CheckResult("problem", "MLflow store", str(error))
    if outdated:
        detail = f"the folder was moved or copied; artifacts are recorded in {', '.join(outdated)}"
        return CheckResult(
            "warning", "MLflow store", detail, "run `python -m pipelines.tracking.relocation`, or any stage"
        )
    return CheckResult("ok", "MLflow store", f"{location.public_uri()} can be opened")


def check_champion() -> CheckResult:
    """Whether bundle and alias are of the same version. No database is created or corrected."""
    try:
        if store.outdated_artifact_folders():
            return CheckResult("warning", "champion", "not compared with the registry: the folder was moved or copied")
        name = params.read().promote.model_name
        registered = None if _missing_file() else model_registry.find_alias(name, model_registry.CHAMPION)
        difference = divergence.compare(name, registered)
        remedy = divergence.remedy(name, registered)
    except InputError as error:
        return CheckResult("warning", "champion", f"not compared with the registry: {error}")
    if difference:
        return CheckResult("warning", "champion", f"{difference}; {remedy}")
    detail = f"version {registered.version} in {paths.CHAMPION} and the registry" if registered else "none yet"
    return CheckResult("ok", "champion", detail)


def _missing_file() -> Path | None:
    """The SQLite file of the store if it does not exist but its folder does."""
    try:
        address = make_url(location.uri())
    except ArgumentError:  # a folder, or a scheme that only MLflow knows
        return None
    file = Path(address.database or "")
    missing = address.get_backend_name() == "sqlite" and file.parent.is_dir() and not file.exists()
    return file if missing else None


if __name__ == "__main__":
    stage.run(main)
