"""Keep a bundle folder equal to the version that an alias of the MLflow registry names.

`python -m pipelines.registry models:/NAME@ALIAS FOLDER` fetches it once, `--poll SECONDS` follows the
alias. The service starts this where its champion is such an address; elsewhere it runs beside it.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from models.errors import InputError
from pipelines.artifacts import bundle
from pipelines.cli import stage
from pipelines.tracking import runs
from pipelines.tracking.runs import Registered

PREFIX = "models:/"


def main() -> None:
    """Fetch once, or follow."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.registry", description=__doc__)
    parser.add_argument("address", help="models:/NAME@ALIAS")
    parser.add_argument("folder", type=Path, help="the bundle's folder")
    parser.add_argument("--poll", type=float, help="seconds between two looks; without it, one look")
    parser.add_argument("--parent", type=int, help="end with this process")
    given = parser.parse_args()
    name, alias = parse(given.address)
    if given.poll is None:
        fetch(name, alias, given.folder)
    else:
        follow(name, alias, given.folder, given.poll, given.parent)


def parse(address: str) -> tuple[str, str]:
    """Name and alias. Raises InputError for any other address."""
    name, at, alias = address.removeprefix(PREFIX).rpartition("@")
    if not (address.startswith(PREFIX) and name and at and alias):
        raise InputError(f"{address}: not an address in the registry; allowed: models:/NAME@ALIAS")
    return name, alias


def follow(name: str, alias: str, folder: Path, seconds: float, parent: int | None = None) -> None:
    """Fetch again whenever the alias moves, for as long as `parent` lives; what goes wrong is told once and retried."""
    known: Registered | None = None
    trouble = ""
    while parent is None or os.getppid() == parent:
        try:
            known = fetch(name, alias, folder, known)
            trouble = ""
        except (InputError, OSError) as error:
            if str(error) != trouble:
                trouble = str(error)
                print(f"registry: {trouble}", file=sys.stderr, flush=True)
        time.sleep(seconds)


def fetch(name: str, alias: str, folder: Path, known: Registered | None = None) -> Registered:
    """Write the bundle of the version that the alias names, unless it is the `known` one; that version.

    Raises InputError where the store does not answer, or the version is none that `promote` registered.
    """
    found = runs.registered(name, alias)
    if found == known:
        return found
    with TemporaryDirectory() as beside:
        model, record_file = runs.download(name, found, Path(beside))
        record = bundle.read(record_file.parent)
        bundle.write(record, model, str(record["model"]["sha256"]), folder)
    print(f"{folder}: {name}, version {found.version}", flush=True)
    return found


if __name__ == "__main__":
    stage.run(main)
