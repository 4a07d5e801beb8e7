"""Whether MLflow's store answers: `python -m pipelines.doctor.mlflow_store`. Prints a list of findings as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from models.errors import InputError
from pipelines.cli import stage
from pipelines.doctor.finding import Finding
from pipelines.tracking import store


def main() -> None:
    """Ask as `train` does before its run."""
    print(json.dumps([asdict(look())]))


def look() -> Finding:
    """Reachable or not. A database file that is not there yet is not opened, for that would make it."""
    if missing := _missing_file():
        return Finding("ok", "MLflow store", f"{missing} is not there yet; the first run makes it")
    try:
        store.require_reachable()
    except InputError as error:
        return Finding("problem", "MLflow store", str(error))
    return Finding("ok", "MLflow store", f"{store.public_uri()} can be opened")


def _missing_file() -> Path | None:
    """The SQLite file of the store where there is none, in a folder that is there."""
    try:
        address = make_url(store.uri())
    except ArgumentError:  # a folder, or what MLflow alone can judge
        return None
    file = Path(address.database or "")
    waits = address.get_backend_name() == "sqlite" and file.parent.is_dir() and not file.exists()
    return file if waits else None


if __name__ == "__main__":
    stage.run(main)
