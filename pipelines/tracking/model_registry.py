"""Versions in the MLflow model registry."""

import io
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import numpy as np

from models.errors import InputError
from models.manifest import MANIFEST
from models.spec import DataSpec
from pipelines.tracking import logged_models, store
from pipelines.tracking.client import mlflow, quiet
from pipelines.tracking.run import Run


@dataclass(frozen=True)
class ModelVersion:
    """A version of the registered model `name`, and the run that logged it."""

    name: str
    version: str
    run_id: str


def register_onnx(
    file: Path, spec: DataSpec, example: np.ndarray, run: Run, name: str, tags: Mapping[str, str], description: str
) -> str:
    """Log an ONNX file to a run, register it under `name` and set the alias; the new version.

    Raises InputError if the store does not respond.
    """
    client = mlflow.MlflowClient()
    with store.errors_reported(), TemporaryDirectory() as folder:
        logged_models.write_onnx(file, spec, example, Path(folder))
        model_id = logged_models.upload(client, run.id, Path(folder), f"{run.name}-onnx", uuid4().hex)
        version = _create_version(model_id, name, tags)
        client.update_model_version(name, version, description)
        client.update_registered_model(name, f"ONNX models for {spec.name}. The alias `champion` is what is served.")
        client.set_registered_model_alias(name, promotion_alias(), version)
    return version


def _create_version(model_id: str, name: str, tags: Mapping[str, str]) -> str:
    with redirect_stderr(io.StringIO()):  # it prints what it does
        return str(mlflow.register_model(f"models:/{model_id}", name, tags=dict(tags)).version)


def promotion_alias() -> str:
    """The alias of a promoted version: `champion`, or `challenger` in the copy of a DVC experiment."""
    return "champion" if store.workspace() == Path.cwd().resolve() else "challenger"


def get_version(name: str, alias: str) -> ModelVersion:
    """The version with the alias. Raises InputError if there is none or the store cannot be reached."""
    store.connect()
    try:
        with quiet():
            version = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except mlflow.MlflowException as error:
        raise InputError(f"models:/{name}@{alias} in {store.public_uri()}: {store.one_line(error)}") from error
    return ModelVersion(name, str(version.version), str(version.run_id))


def download(version: ModelVersion, folder: Path) -> tuple[Path, Path]:
    """Fetch the ONNX file and champion.json of a version into `folder`; their paths.

    Raises InputError if one of them is missing.
    """
    uri, manifest = f"models:/{version.name}/{version.version}", f"{bundle_folder(version.version)}/{MANIFEST}"
    try:
        with quiet():
            model = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
            record = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=manifest, dst_path=str(folder)
            )
    except (mlflow.MlflowException, OSError) as error:
        raise InputError(f"{uri}: not registered by `promote` ({store.one_line(error)})") from error
    return Path(model) / "model.onnx", Path(record)


def bundle_folder(version: str) -> str:
    """The artifact folder, in the run of a version, of its champion.json."""
    return f"champion/{version}"
