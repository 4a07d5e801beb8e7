"""Download the bundle of a registered model by its alias: `python -m pipelines.registry models:/NAME@ALIAS FOLDER`.

With `--poll SECONDS` it checks the alias repeatedly and downloads the bundle again whenever the alias moves or the
bundle is deleted. The service starts this command itself if TANDEM_CHAMPION is such an address. Where FOLDER is
`artifacts/champion`, dvc.lock records the bundle.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from models.errors import InputError
from models.manifest import CHECKED, MANIFEST
from pipelines.artifacts import bundle, paths
from pipelines.execution import stage
from pipelines.tracking import dvc_record, model_registry
from pipelines.tracking.model_registry import ModelVersion

PREFIX = "models:/"
MAX_SECONDS = 86_400  # between two checks


def main() -> None:
    """Fetch the bundle named on the command line once, or repeatedly."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.registry", description=__doc__)
    parser.add_argument("address", help="models:/NAME@ALIAS")
    parser.add_argument("folder", type=Path, help="the bundle's folder")
    parser.add_argument(
        "--poll", type=float, help=f"seconds between two checks, at most {MAX_SECONDS}; default: check once"
    )
    parser.add_argument("--parent", type=int, help="end when this process ends")
    arguments = parser.parse_args()
    name, alias = parse(arguments.address)
    if arguments.poll is None:
        version = fetch(name, alias, arguments.folder)
        if arguments.folder.resolve() == paths.CHAMPION.resolve():
            dvc_record.update(version.version)
    elif 0 < arguments.poll <= MAX_SECONDS:
        follow(name, alias, arguments.folder, arguments.poll, arguments.parent)
    else:
        raise InputError(f"--poll {arguments.poll}: allowed: seconds above 0, at most {MAX_SECONDS}")


def parse(address: str) -> tuple[str, str]:
    """The name and alias in `models:/NAME@ALIAS`. Raises InputError for any other address."""
    name, at, alias = address.removeprefix(PREFIX).rpartition("@")
    if not (address.startswith(PREFIX) and name and at and alias):
        raise InputError(f"{address}: not a registry address; allowed: models:/NAME@ALIAS")
    return name, alias


def follow(name: str, alias: str, folder: Path, seconds: float, parent: int | None = None) -> None:
    """Fetch whenever the alias moves or the bundle is deleted, until `parent` ends.

    Errors are retried; repetitions are not printed. The file CHECKED in the folder is touched after each check without
    an error.
    """
    known: ModelVersion | None = None
    last_error = ""
    while parent is None or os.getppid() == parent:
        try:
            known = fetch(name, alias, folder, known)
            (folder / CHECKED).touch()
            last_error = ""
        except (InputError, OSError) as error:
            if str(error) != last_error:
                last_error = str(error)
                print(f"registry: {last_error}", file=sys.stderr, flush=True)
        time.sleep(seconds)


def fetch(name: str, alias: str, folder: Path, known: ModelVersion | None = None) -> ModelVersion:
    """Write the bundle of the version with the alias, unless it is the `known` one and was not deleted; that version.

    Raises InputError if the store cannot be reached or the version was not registered by `promote`.
    """
    version = model_registry.get_version(name, alias)
    if version == known and (folder / MANIFEST).exists():
        return version
    with TemporaryDirectory() as beside:
        downloaded = model_registry.download(version, Path(beside))
        with bundle.locked(folder):
            # Another process may have moved the alias in the meantime.
            if is_current := model_registry.get_version(name, alias) == version:
                bundle.install(downloaded, folder)
    if not is_current:
        return fetch(name, alias, folder)
    print(f"{folder}: {name}, version {version.version}", flush=True)
    return version


if __name__ == "__main__":
    stage.run(main)
