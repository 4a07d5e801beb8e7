"""Restore an earlier champion: `python -m pipelines.rollback [VERSION] --reason TEXT`.

Without VERSION it is the latest champion before the current one that was not rolled back, or that of a rollback that
was interrupted. Its bundle is fetched from the registry, verified and tried in ONNX Runtime; then the bundle in
`artifacts/champion` and the alias `champion` change together, and dvc.lock records the bundle. The replaced version is
tagged as rolled back, and `promote` rejects its graph from then on. `--list` prints the history instead.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tabulate import tabulate

from models.errors import InputError, one_line
from models.manifest import MANIFEST
from models.onnx import stored_example
from pipelines.artifacts import bundle, paths, signature
from pipelines.config import params
from pipelines.execution import stage
from pipelines.tracking import dvc_record, location, model_registry, promotion_history
from pipelines.tracking.model_registry import ModelVersion
from pipelines.tracking.promotion_history import ROLLBACK_PREFIX, ROLLED_BACK


def main() -> None:
    """Roll back or list the history of the model that `params.yaml` names."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.rollback", description=__doc__)
    parser.add_argument("version", nargs="?", help="default: the latest champion before that was not rolled back")
    parser.add_argument("--reason", default="", help="recorded in the registry")
    parser.add_argument("--list", action="store_true", help="print which version was champion since when, and why")
    arguments = parser.parse_args()
    name = params.read().promote.model_name
    if arguments.list:
        print(table(model_registry.list_versions(name) if location.exists() else []))
    elif arguments.reason.strip():
        roll_back(name, arguments.version, one_line(arguments.reason))
    else:
        raise InputError("no reason given; give --reason TEXT, or --list for the history")


def roll_back(name: str, number: str | None, reason: str) -> None:
    """Restore the version `number` of the registered model, or the one before the current champion.

    Raises InputError if there is none, if it cannot be fetched or is not what was registered, or if the store does not
    respond; bundle and alias are then unchanged.
    """
    with bundle.locked(paths.CHAMPION):
        restored = _restore(name, number, reason)
    dvc_record.update(restored.version)


def _restore(name: str, number: str | None, reason: str) -> ModelVersion:
    """Bundle and alias of the version that is champion then."""
    current = model_registry.get_version(name, model_registry.CHAMPION)
    versions = model_registry.list_versions(name)
    if number is None and _is_interrupted(current, versions):
        with TemporaryDirectory() as beside:
            bundle.install(model_registry.download(current, Path(beside)), paths.CHAMPION)
        print(f"champion: version {current.version} of {name}; the interrupted rollback to it is complete", flush=True)
        return current
    restored = _find(number, current, versions)
    with TemporaryDirectory() as beside:
        folder = model_registry.download(restored, Path(beside))
        manifest, model = bundle.verified(folder)
        stored_example.require_equal(manifest, model)
        if sign := signature.signer():
            sign(folder)
            model_registry.store_beside_model(restored, folder)
        with bundle.installing(folder, paths.CHAMPION):
            promotion_history.roll_back(restored, current, reason)
    print(
        f"champion: {manifest['name']}, version {restored.version} of {name}; version {current.version} is rolled back",
        flush=True,
    )
    return restored


def _is_interrupted(current: ModelVersion, versions: Sequence[ModelVersion]) -> bool:
    """True if a rollback was killed after it had moved the alias: the folder has the version that it replaced."""
    if not (paths.CHAMPION / MANIFEST).exists():
        return False
    try:
        local = str(bundle.read(paths.CHAMPION)["version"])
    except InputError:  # a damaged bundle, which is replaced
        return False
    latest = promotion_history.events(versions)[-1:]
    steps = [(event.version, event.replaces) for event in latest if event.reason.startswith(ROLLBACK_PREFIX)]
    return steps == [(current.version, local)]


def _find(number: str | None, current: ModelVersion, versions: Sequence[ModelVersion]) -> ModelVersion:
    """The version to restore."""
    others = {version.version: version for version in versions if version != current}
    number = number or _before(current, others)
    if number == current.version:
        raise InputError(f"version {number} of {current.name} is the champion; {_allowed(others)}")
    if number not in others:
        raise InputError(f"version {number} of {current.name} does not exist; {_allowed(others)}")
    return others[number]


def _before(current: ModelVersion, others: Mapping[str, ModelVersion]) -> str:
    """The number of the latest version that was champion before the current one was promoted and was not rolled back.

    Raises InputError if there is none.
    """
    history = [event.version for event in promotion_history.events([current, *others.values()])]
    earlier = history[: history.index(current.version)] if current.version in history else []
    for number in reversed(earlier):
        if ROLLED_BACK not in others[number].tags:
            return number
    version = f"version {current.version} of {current.name}"
    raise InputError(f"no champion before {version} is left that was not rolled back; {_allowed(others)}")


def _allowed(others: Mapping[str, ModelVersion]) -> str:
    """The versions that can be named, with the reasons of those that were rolled back."""
    reasons = {number: version.tags.get(ROLLED_BACK) for number, version in others.items()}
    names = [f"{number} (rolled back: {reason})" if reason else number for number, reason in reasons.items()]
    return f"name one of the versions {', '.join(names)}" if names else "there is no other version"


def table(versions: Sequence[ModelVersion]) -> str:
    """A line for each time that a version became champion, the latest last."""
    tags = {version.version: version.tags for version in versions}
    rows = [
        {
            "since (UTC)": event.time[:19].replace("T", " "),
            "version": event.version,
            "candidate": tags[event.version].get("candidate", ""),
            "replaced": event.replaces or "-",
            "rolled back": tags[event.version].get(ROLLED_BACK, ""),
            "reason": event.reason,
        }
        for event in promotion_history.events(versions)
    ]
    return tabulate(rows, headers="keys", disable_numparse=True) or "no promotions yet"


if __name__ == "__main__":
    stage.run(main)
