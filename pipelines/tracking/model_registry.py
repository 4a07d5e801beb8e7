"""Versions in the MLflow model registry."""

import io
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import numpy as np

from models.errors import InputError
from models.manifest import MANIFEST
from models.spec import DataSpec
from pipelines.artifacts import bundle, example_hashes
from pipelines.tracking import location, logged_models, store
from pipelines.tracking.client import mlflow, quiet
from pipelines.tracking.run import Run

CHAMPION, CHALLENGER = "champion", "challenger"  # aliases


@dataclass(frozen=True)
class ModelVersion:
    """A version of the registered model `name`, the run that logged it, and its tags."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str] = field(compare=False)

    @property
    def uri(self) -> str:
        """Its address for MLflow."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class RunRecord:
    """Status and parameters of a run."""

    status: str
    params: Mapping[str, str]


def register_onnx(
    file: Path, spec: DataSpec, example: np.ndarray, run: Run, name: str, tags: Mapping[str, str], description: str
) -> ModelVersion:
    """Log an ONNX file to a run and register it under `name`; the new version, which has no alias yet.

    Raises InputError if the store does not respond.
    """
    store.connect()
    client = mlflow.MlflowClient()
    with store.errors_reported(), TemporaryDirectory() as folder:
        logged_models.write_onnx(file, spec, example, Path(folder))
        model_id = logged_models.upload(client, run.id, Path(folder), f"{run.name}-onnx", uuid4().hex)
        version = _create_version(model_id, name, tags)
        client.update_model_version(name, version, description)
        client.update_registered_model(name, f"ONNX models for {spec.name}. The alias `champion` is what is served.")
    return ModelVersion(name, version, run.id, tags)


def _create_version(model_id: str, name: str, tags: Mapping[str, str]) -> str:
    with redirect_stderr(io.StringIO()):  # it prints what it does
        return str(mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags)).version)


def promotion_alias() -> str:
    """The alias of a promoted version: `champion`, or `challenger` in the copy of a DVC experiment."""
    return CHAMPION if location.workspace() == Path.cwd().resolve() else CHALLENGER


def set_alias(version: ModelVersion, alias: str) -> None:
    """Move an alias to a version. Raises InputError if the store does not respond."""
    with store.errors_reported():
        mlflow.MlflowClient().set_registered_model_alias(version.name, alias, version.version)


def get_version(name: str, alias: str) -> ModelVersion:
    """The version with the alias. Raises InputError if there is none or the store cannot be reached."""
    if (version := find_alias(name, alias)) is None:
        raise InputError(f"models:/{name}@{alias} in {location.public_uri()}: no such model or alias")
    return version


def find_alias(name: str, alias: str) -> ModelVersion | None:
    """The version with the alias, or None. Raises InputError if the store cannot be reached."""
    store.connect()
    with store.errors_reported(), quiet():
        entity = store.find(mlflow.MlflowClient().get_model_version_by_alias, name, alias)
    return _version(entity) if entity else None


def read_run(run_id: str) -> RunRecord | None:
    """The run of a version, or None if it was deleted. Raises InputError if the store cannot be reached."""
    store.connect()
    with store.errors_reported(), quiet():
        run = store.find_run(run_id)
    return RunRecord(run.info.status, dict(run.data.params)) if run else None


def list_versions(name: str) -> list[ModelVersion]:
    """All versions, the oldest first. Raises InputError if the store cannot be reached."""
    store.connect()
    with store.errors_reported(), quiet():
        entities = mlflow.MlflowClient().search_model_versions(f"name = '{name}'")
    return sorted(map(_version, entities), key=lambda version: int(version.version))


def _version(entity: mlflow.entities.model_registry.ModelVersion) -> ModelVersion:
    return ModelVersion(str(entity.name), str(entity.version), str(entity.run_id), dict(entity.tags))


def store_beside_model(version: ModelVersion, folder: Path) -> None:
    """Store the other files in `folder` than the model, such as champion.json, so that `download` restores the bundle.

    Raises InputError if the store does not respond.
    """
    with store.errors_reported():
        for path in folder.iterdir():
            if path.suffix != ".onnx":
                mlflow.MlflowClient().log_artifact(version.run_id, str(path), _manifest_folder(version))


def training_examples(version: ModelVersion) -> np.ndarray | None:
    """Hashes uint64 [N] of the examples that a version was trained on, None if they are not stored.

    Raises InputError if the store does not respond.
    """
    with store.errors_reported(), TemporaryDirectory() as folder:
        if (path := f"{_manifest_folder(version)}/{example_hashes.FILE}") not in _stored_beside_model(version):
            return None
        file = mlflow.MlflowClient().download_artifacts(version.run_id, path, folder)
        return np.asarray(np.load(file, allow_pickle=False))


def download(version: ModelVersion, folder: Path) -> Path:
    """Fetch the bundle of a version into a new folder within `folder`; its path.

    Raises InputError if a file is missing, the SHA-256 of the model is not the registered one, or the store does not
    respond.
    """
    with store.errors_reported(), quiet():
        if (path := f"{_manifest_folder(version)}/{MANIFEST}") not in _stored_beside_model(version):
            run = f"run {version.run_id} has no artifact {path}"
            raise InputError(f"{version.uri}: {run}: not registered by `promote`, or deleted since")
        model = mlflow.artifacts.download_artifacts(version.uri, dst_path=str(folder))
        beside = mlflow.artifacts.download_artifacts(
            run_id=version.run_id, artifact_path=_manifest_folder(version), dst_path=str(folder)
        )
    return _complete(version, Path(model) / logged_models.ONNX_FILE, Path(beside))


def _stored_beside_model(version: ModelVersion) -> set[str]:
    """The artifacts of `store_beside_model`; none if the run was deleted."""
    files = store.find(mlflow.MlflowClient().list_artifacts, version.run_id, _manifest_folder(version))
    return {file.path for file in files or ()}


def _complete(version: ModelVersion, model: Path, folder: Path) -> Path:
    """Move the model to the folder of its manifest."""
    recorded = bundle.read(folder)["model"]
    registered = version.tags.get("sha256")
    if registered not in (None, recorded["sha256"]):
        hashes = f"{MANIFEST} has the SHA-256 {recorded['sha256']}, the registry {registered}"
        raise InputError(f"{version.uri}: {hashes}")
    model.rename(folder / recorded["file"])
    return folder


def _manifest_folder(version: ModelVersion) -> str:
    """The artifact folder, in the run of a version, of what belongs to it beside the model."""
    return f"champion/{version.version}"
