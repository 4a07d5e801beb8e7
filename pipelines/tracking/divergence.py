"""Agreement of the bundle in `artifacts/champion` with the alias `champion` of the model registry."""

from collections.abc import Mapping
from typing import Any

from models.errors import InputError
from models.manifest import MANIFEST
from pipelines.artifacts import bundle, paths
from pipelines.tracking import location, model_registry
from pipelines.tracking.model_registry import ModelVersion


def compare(name: str, registered: ModelVersion | None) -> str | None:
    """The difference of the bundle from the version with the alias, and the commands that resolve it, in one line.

    None where they agree or there is neither.
    """
    alias = f"models:/{name}@{model_registry.CHAMPION}"
    restore = f"`python -m pipelines.registry {alias} {paths.CHAMPION}` restores version"
    compete = "`dvc repro --force --single-item promote` compares the candidates of the workspace"
    if not (paths.CHAMPION / MANIFEST).exists():
        return f"no bundle in {paths.CHAMPION}; {restore} {registered.version}" if registered else None
    try:
        local, _ = bundle.verified(paths.CHAMPION)
    except InputError as error:
        return f"{error}; {restore} {registered.version}" if registered else f"{error}"
    if registered is None:
        registers = f"{compete} with it and registers the better one"
        return f"{paths.CHAMPION} has {_short(local)}, {location.public_uri()} has no {alias}; {registers}"
    registered_hash = registered.tags.get("sha256", "")
    if (str(local["version"]), local["model"]["sha256"]) == (registered.version, registered_hash):
        return None
    difference = f"{paths.CHAMPION} has {_short(local)}, {alias} is version {registered.version}"
    return f"{difference} ({registered_hash[:12]}); {restore} {registered.version}; {compete} with it"


def _short(manifest: Mapping[str, Any]) -> str:
    return f"version {manifest['version']} ({manifest['model']['sha256'][:12]})"
