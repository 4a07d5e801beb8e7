"""The current champion: the version with the alias, or the bundle of the workspace if the registry has none."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.errors import InputError
from models.manifest import MANIFEST
from models.onnx import stored_example
from models.spec import DataSpec
from pipelines.artifacts import bundle, paths
from pipelines.tracking import divergence, model_registry
from pipelines.tracking.model_registry import ModelVersion


@dataclass(frozen=True)
class CurrentChampion:
    """A bundle whose model has the recorded SHA-256 and returns the stored outputs; `registered` is its version.

    `registered` is None where the registry has no champion, such as a new one after `dvc pull`.
    """

    folder: Path
    manifest: Mapping[str, Any]
    registered: ModelVersion | None

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.manifest["version"])

    @property
    def sha256(self) -> str:
        """SHA-256 of its graph."""
        return str(self.manifest["model"]["sha256"])

    @property
    def model(self) -> Path:
        """Its graph."""
        return self.folder / str(self.manifest["model"]["file"])

    @property
    def spec(self) -> DataSpec:
        """The specification of its data."""
        return DataSpec.from_dict(dict(self.manifest["spec"]), str(self.folder / MANIFEST))


@contextmanager
def opened(name: str) -> Iterator[CurrentChampion | None]:
    """The current champion of the registered model; None before the first promotion.

    In the workspace, a bundle that differs from the registry is reported. Raises InputError if the bundle of the
    registered version is missing or damaged.
    """
    registered = model_registry.find_alias(name, model_registry.CHAMPION)
    difference = divergence.compare(name, registered)
    if difference and model_registry.promotion_alias() == model_registry.CHAMPION:
        restored = f"; version {registered.version} is restored from the registry" if registered else ""
        print(f"promote: {difference}{restored}", flush=True)
    if registered is None:
        yield _unregistered()
    elif difference is None:
        yield _verified(paths.CHAMPION, registered)
    else:
        with TemporaryDirectory() as beside:
            yield _downloaded(registered, Path(beside))


def _unregistered() -> CurrentChampion | None:
    """The bundle of the workspace; None if there is none, or if it cannot be used, which is reported."""
    if not (paths.CHAMPION / MANIFEST).exists():
        return None
    try:
        return _verified(paths.CHAMPION, None)
    except InputError as error:
        print(f"promote: the bundle in {paths.CHAMPION} cannot be compared: {error}", flush=True)
        return None


def _downloaded(version: ModelVersion, folder: Path) -> CurrentChampion:
    try:
        return _verified(model_registry.download(version, folder), version)
    except InputError as error:
        advice = f"restore it, or remove the alias `{model_registry.CHAMPION}` to promote without a comparison"
        raise InputError(f"the current champion cannot be compared: {error}; {advice}") from error


def _verified(folder: Path, registered: ModelVersion | None) -> CurrentChampion:
    manifest, model = bundle.verified(folder)
    stored_example.require_equal(manifest, model)
    return CurrentChampion(folder, manifest, registered)
