"""Agreement of the bundle in `artifacts/champion` with the alias `champion` of the model registry."""

from collections.abc import Mapping
from typing import Any

from models.errors import InputError
from models.manifest import MANIFEST
from pipelines.artifacts import bundle, paths
from pipelines.tracking import location, model_registry
from pipelines.tracking.model_registry import ModelVersion


def compare(name: str, registered: ModelVersion | None) -> str | None:
    """The difference of the bundle from the version with the alias; None where they agree or there is neither."""
    if not (paths.CHAMPION / MANIFEST).exists():
        return f"no bundle in {paths.CHAMPION}" if registered else None
    try:
        local, _ = bundle.verified(paths.CHAMPION)
    except InputError as error:
        return str(error)
    if registered is None:
        return f"{paths.CHAMPION} has {_short(local)}, {location.public_uri()} has no {_alias(name)}"
    registered_hash = registered.tags.get("sha256", "")
    if (str(local["version"]), local["model"]["sha256"]) == (registered.version, registered_hash):
        return None
    version = f"version {registered.version} ({registered_hash[:12]})"
    return f"{paths.CHAMPION} has {_short(local)}, {_alias(name)} is {version}"


def remedy(name: str, registered: ModelVersion | None) -> str:
    """The commands that resolve a difference."""
    compete = "`dvc repro --force --single-item promote` compares the candidates of the workspace with it"
    if registered is None:
        return f"{compete} and registers the better one"
    restore = f"`python -m pipelines.registry {_alias(name)} {paths.CHAMPION}`"
    return f"{restore} restores version {registered.version}; {compete}"


def _alias(name: str) -> str:
    return f"models:/{name}@{model_registry.CHAMPION}"


def _short(manifest: Mapping[str, Any]) -> str:
    return f"version {manifest['version']} ({manifest['model']['sha256'][:12]})"
