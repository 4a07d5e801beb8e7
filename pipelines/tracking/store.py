"""Access to the MLflow store and its experiments."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from filelock import FileLock

from models.errors import InputError, one_line
from pipelines.artifacts.atomic import staged
from pipelines.execution.stage import was_interrupted
from pipelines.tracking import location, reachability, relocation
from pipelines.tracking.client import mlflow, quiet

# Opens the experiment in MLflow's view for model training, in place of that for language models.
VIEW = {"mlflow.experimentKind": "custom_model_development"}
NOT_FOUND_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter for ids of another kind of store


@contextmanager
def errors_reported() -> Iterator[None]:
    """Raise an error of MLflow or a client that it uses as InputError, in one line with the location of the store."""
    try:
        yield
    except (InputError, AssertionError, AttributeError, LookupError, NameError, TypeError):
        raise
    except Exception as error:  # clients of artifact stores raise exceptions of their own
        if was_interrupted(error):
            raise
        kind = "" if isinstance(error, mlflow.MlflowException) else f"{type(error).__name__}: "
        raise InputError(f"MLflow store {location.public_uri()}: {kind}{one_line(error)}") from error


def require_reachable() -> None:
    """Raise InputError within seconds if the store cannot be reached."""
    environment = mlflow.environment_variables
    verify = environment.MLFLOW_TRACKING_SERVER_CERT_PATH.get() or not environment.MLFLOW_TRACKING_INSECURE_TLS.get()
    reachability.require(location.uri(), location.public_uri(), verify)


def connect() -> None:
    """Direct MLflow's functions to the store, which is created if it is local, and corrected if its folder was moved.

    Raises InputError if it cannot be reached.
    """
    if not location.exists():
        _create_database()
    require_reachable()
    mlflow.set_tracking_uri(location.uri())
    if outdated_artifact_folders():
        with _lock():
            relocation.correct(location.database(), location.artifacts())


def _create_database() -> None:
    """Create the local store, and rename it at the end: MLflow cannot use one whose creation was killed."""
    path = location.database()
    with _lock(), errors_reported():
        if not path.exists():  # created by another process
            with staged(path.parent, [path.name]) as folder:
                mlflow.MlflowClient(f"sqlite:///{folder / path.name}").search_experiments()


def open_experiment(name: str) -> str:
    """Connect, and find or create the experiment; its id. Raises InputError if that fails or it is deleted."""
    connect()
    # Two processes that create the database at the same time collide.
    with errors_reported(), quiet(), _lock() if location.is_local() else nullcontext():
        experiment = mlflow.get_experiment_by_name(name) or _create_experiment(name)
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"tracking.experiment = '{name}' was deleted in {location.public_uri()}; restore it or choose another name"
        )
    return str(experiment.experiment_id)


def _create_experiment(name: str) -> Any:
    """A new experiment, or the one that another machine has created on a server in the meantime."""
    try:
        mlflow.create_experiment(name, _artifact_location(), VIEW)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return mlflow.get_experiment_by_name(name)


def find(get: Callable[..., Any], *arguments: str) -> Any:
    """What a function of MLflow gives for these arguments; None if the store has no such object."""
    try:
        return get(*arguments)
    except mlflow.MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise
    return None


def find_run(run_id: str) -> Any:
    """The run; None if the store does not have it or it was deleted."""
    run = find(mlflow.get_run, run_id)
    return run if run and run.info.lifecycle_stage == "active" else None


def outdated_artifact_folders() -> list[str]:
    """Former addresses of a local store whose folder was moved or copied; empty once they are corrected."""
    return relocation.outdated(location.database(), location.artifacts()) if location.is_local() else []


def _lock() -> FileLock:
    return FileLock(location.workspace() / ".dvc" / "tmp" / "mlflow.lock")


def _artifact_location() -> str | None:
    """None for a server, which has its own default."""
    return location.artifacts().as_uri() if location.is_local() else None
