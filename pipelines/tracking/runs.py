"""MLflow runs: started or resumed for a stage, and what is logged to them."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.spec import DataSpec
from pipelines.artifacts import split_files
from pipelines.plotting.palette import PALETTE
from pipelines.tracking import provenance, store
from pipelines.tracking.client import mlflow, quiet

RUN_NOT_FOUND_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such run; not a run id of this store
REPLACED_RUN_TAG = "tandem.replaces_run"
COLOUR_TAG, DESCRIPTION_TAG = "mlflow.runColor", "mlflow.note.content"  # read by MLflow's user interface


class Run:
    """The active MLflow run. Every method writes immediately, so that a crash loses nothing that was logged."""

    def __init__(self, run_id: str, name: str) -> None:
        self.id = run_id
        self.name = name

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names."""
        mlflow.log_params(dict(_flatten(values)))

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics of the whole run."""
        mlflow.log_metrics(dict(values))

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log metrics of one epoch in one call. MLflow shows groups such as `epoch/` in alphabetical order."""
        mlflow.log_metrics(dict(values), step=epoch)

    def log_image(self, name: str, image_HWC: np.ndarray, epoch: int) -> None:
        """Log a uint8 image of one epoch; MLflow shows the images of one name with a slider."""
        mlflow.log_image(image_HWC, key=name, step=epoch, synchronous=True)

    def set_description(self, text: str) -> None:
        """Set the description that MLflow shows at the top of the run."""
        mlflow.set_tag(DESCRIPTION_TAG, text)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        mlflow.set_tags(dict(tags))

    def log_dataset(self, spec: DataSpec, split: str, folder: Path, digest: str) -> None:
        """Log a split, with its inputs.npy and targets.npy in `folder`, as an input of the run."""
        inputs, targets = split_files.read(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # two of MLflow's dataset sources match a local folder
            dataset = mlflow.data.from_numpy(
                inputs, targets=targets, source=str(folder), name=f"{spec.name}-{split}", digest=digest[:12]
            )
        mlflow.log_input(dataset, context=split)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files of a directory, to the artifacts of the run."""
        if path.is_dir():
            mlflow.log_artifacts(str(path), folder)
        else:
            mlflow.log_artifact(str(path), folder)


@contextmanager
def start(experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """A new run with system metrics. An exception ends it as FAILED, an interrupt as KILLED.

    Raises InputError if the store cannot be reached.
    """
    experiment_id = _open_experiment(experiment)
    mlflow.set_system_metrics_sampling_interval(1)
    with quiet():
        tags = {COLOUR_TAG: _next_colour(experiment_id), **tags}
        active = mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags, log_system_metrics=True)
    with _ended(active) as run:
        yield run


@contextmanager
def resume(experiment: str, name: str, run_id: str) -> Iterator[Run]:
    """The recorded run; if it no longer exists, the run that replaced it, or a new one."""
    experiment_id = _open_experiment(experiment)
    if existing := _find(experiment_id, run_id):
        end_time = mlflow.get_run(existing).info.end_time
        active = mlflow.start_run(run_id=existing)
    else:
        end_time = None
        print(f"{name}: run {run_id} is not in {store.public_uri()}; a new run replaces it", flush=True)
        tags = {REPLACED_RUN_TAG: run_id, **provenance.tags()}
        active = mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags)
    with _ended(active, end_time) as run:
        yield run


def _open_experiment(name: str) -> str:
    """The id of the experiment, without a run id in the environment, which MLflow would use for the new run."""
    os.environ.pop("MLFLOW_RUN_ID", None)
    return store.open_experiment(name)


def _find(experiment_id: str, run_id: str) -> str | None:
    """The id of the run or of the run that replaced it; None if neither exists."""
    try:
        if mlflow.get_run(run_id).info.lifecycle_stage == "active":
            return run_id
    except mlflow.MlflowException as error:
        if error.error_code not in RUN_NOT_FOUND_CODES:
            raise InputError(f"MLflow store {store.public_uri()}: {store.one_line(error)}") from error
    condition = f"tags.`{REPLACED_RUN_TAG}` = '{run_id}'"
    replacements = mlflow.MlflowClient().search_runs([experiment_id], condition, max_results=1)
    return str(replacements[0].info.run_id) if replacements else None


def _next_colour(experiment_id: str) -> str:
    """The colour after that of the latest run; MLflow's default may give neighbouring runs the same one."""
    latest = mlflow.MlflowClient().search_runs([experiment_id], order_by=["start_time DESC"], max_results=1)
    colour = latest[0].data.tags.get(COLOUR_TAG) if latest else None
    return PALETTE[(PALETTE.index(colour) + 1) % len(PALETTE)] if colour in PALETTE else PALETTE[0]


@contextmanager
def _ended(active: mlflow.ActiveRun, end_time: int | None = None) -> Iterator[Run]:
    """End the run with the status of the block, and with the `end_time` (ms since 1970) of the training if given."""
    run_id, status = active.info.run_id, "FAILED"
    try:
        yield Run(run_id, active.info.run_name)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with quiet():
            mlflow.end_run(status)
            if end_time:
                mlflow.MlflowClient().set_terminated(run_id, status, end_time)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
