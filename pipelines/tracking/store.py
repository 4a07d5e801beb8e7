"""Location of the MLflow store, and access to its experiments.

The store is `MLFLOW_TRACKING_URI` if that is set, otherwise a SQLite file in the root of the workspace, which
`mlflow ui` opens by default.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock

from models.errors import InputError
from pipelines.tracking import reachability, relocation
from pipelines.tracking.client import mlflow, quiet

# Opens the experiment in MLflow's view for model training, in place of that for language models.
VIEW = {"mlflow.experimentKind": "custom_model_development"}


def workspace() -> Path:
    """The root of the user's workspace, also from within the copy that `dvc exp run --temp` creates."""
    here = Path.cwd().resolve()
    copies = (parent for parent in here.parents if parent.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((parent.parents[2] for parent in copies), here)


def uri() -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, or the SQLite file of the workspace by its absolute path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local_uri()


def public_uri() -> str:
    """The tracking URI without user name, password and query, for display and records."""
    parts = urlsplit(uri())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if "://" in uri() else uri()


def outboxes() -> Path:
    """The folder of records that are not yet delivered."""
    return workspace() / ".dvc" / "tmp" / "mlflow"


@contextmanager
def errors_reported() -> Iterator[None]:
    """Raise an error of MLflow as InputError, in one line with the location of the store."""
    try:
        yield
    except (mlflow.MlflowException, requests.RequestException) as error:
        raise InputError(f"MLflow store {public_uri()}: {one_line(error)}") from error


def require_reachable() -> None:
    """Raise InputError within seconds if the store cannot be reached."""
    environment = mlflow.environment_variables
    verify = environment.MLFLOW_TRACKING_SERVER_CERT_PATH.get() or not environment.MLFLOW_TRACKING_INSECURE_TLS.get()
    reachability.require(uri(), public_uri(), verify)


def connect() -> None:
    """Direct MLflow's functions to the store, corrected if its folder was moved.

    Raises InputError if it cannot be reached.
    """
    require_reachable()
    mlflow.set_tracking_uri(uri())
    if outdated_artifact_folders():
        with _lock():
            relocation.correct(_database(), _artifacts())


def open_experiment(name: str) -> str:
    """Connect, and find or create the experiment; its id. Raises InputError if that fails or it is deleted."""
    connect()
    # Two processes that create the database at the same time collide.
    with errors_reported(), quiet(), _lock() if _is_local() else nullcontext():
        experiment = mlflow.get_experiment_by_name(name)
        if experiment is None:
            return str(mlflow.create_experiment(name, _artifact_location(), VIEW))
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"tracking.experiment = '{name}' was deleted in {public_uri()}; restore it or choose another name"
        )
    return str(experiment.experiment_id)


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split())


def outdated_artifact_folders() -> list[str]:
    """Former addresses of a local store whose folder was moved or copied; empty once they are corrected."""
    return relocation.outdated(_database(), _artifacts()) if _is_local() else []


def outbox_address() -> str:
    """The address in outboxes: that of a local store remains the same if its folder is moved."""
    return "" if _is_local() else public_uri()


def _database() -> Path:
    return workspace() / "mlflow.db"


def _artifacts() -> Path:
    """The artifacts of the local store lie beside it."""
    return workspace() / "mlartifacts"


def _lock() -> FileLock:
    return FileLock(workspace() / ".dvc" / "tmp" / "mlflow.lock")


def _local_uri() -> str:
    return f"sqlite:///{_database()}"


def _is_local() -> bool:
    """Compared by URI, because `mlflow.set_tracking_uri` sets MLFLOW_TRACKING_URI as well."""
    return uri() == _local_uri()


def _artifact_location() -> str | None:
    """None for a server, which has its own default."""
    return _artifacts().as_uri() if _is_local() else None
