"""MLflow: the one place that knows it. Runs, metrics, models and the registry.

The store is `MLFLOW_TRACKING_URI` where that is set, otherwise a SQLite file in the root of the
workspace, which is what `mlflow ui` opens by default.
"""

import io
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# MLflow reads this once, when it is imported; a person who wants telemetry sets it to false.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
from filelock import FileLock
from mlflow.entities import RunStatus
from mlflow.environment_variables import MLFLOW_TRACKING_INSECURE_TLS, MLFLOW_TRACKING_SERVER_CERT_PATH
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from models.errors import InputError
from models.manifest import MANIFEST
from models.spec import DataSpec
from pipelines.artifacts import split_files
from pipelines.plotting.palette import PALETTE
from pipelines.tracking import reachability

GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such run; not a run id of this store
REPLACES = "tandem.replaces_run"
# mlflow.keras cannot store an input example (mlflow/mlflow#16183); mlflow.tensorflow writes the same `.keras`.
FLAVORS = {"torch": "pytorch", "keras": "tensorflow"}
COLOUR, NOTE = "mlflow.runColor", "mlflow.note.content"  # tags that MLflow's pages read
PACKAGES = {"torch": ["torch"], "keras": ["tensorflow", "keras"], "onnx": ["onnx", "onnxruntime"]}


@dataclass(frozen=True)
class Registered:
    """A version in the registry, and the run that made it."""

    version: str
    run_id: str


class Run:
    """The active MLflow run. Every method writes at once, so that a crash keeps what was logged."""

    def __init__(self, run_id: str, name: str) -> None:
        self.id = run_id
        self.name = name

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; nested mappings become dotted names."""
        mlflow.log_params(dict(_flatten(values)))

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Log numbers for the run as a whole."""
        mlflow.log_metrics(dict(values))

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log numbers of one epoch, all in one call. MLflow draws groups, as `epoch/`, in the order of their names."""
        mlflow.log_metrics(dict(values), step=epoch)

    def log_image(self, name: str, image_HWC: np.ndarray, epoch: int) -> None:
        """Log a picture, uint8, of one epoch: MLflow shows those of one name with a slider."""
        mlflow.log_image(image_HWC, key=name, step=epoch, synchronous=True)

    def describe(self, text: str) -> None:
        """Set the description that MLflow shows above everything else."""
        mlflow.set_tag(NOTE, text)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        mlflow.set_tags(dict(tags))

    def log_dataset(self, spec: DataSpec, split: str, folder: Path, digest: str) -> None:
        """Record a split (`folder` with inputs.npy and targets.npy) as an input of the run."""
        inputs, targets = split_files.read(folder)
        with warnings.catch_warnings():
            # A local folder fits two of MLflow's kinds of source, which are the same.
            warnings.simplefilter("ignore", UserWarning)
            dataset = mlflow.data.from_numpy(
                inputs, targets=targets, source=str(folder), name=f"{spec.name}-{split}", digest=digest[:12]
            )
        mlflow.log_input(dataset, context=split)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or all files of a directory, into the run's artifacts."""
        if path.is_dir():
            mlflow.log_artifacts(str(path), folder)
        else:
            mlflow.log_artifact(str(path), folder)

    def log_native(self, framework: str, model: Any, spec: DataSpec, example: np.ndarray) -> str:
        """Log a trained torch or Keras model without pickle (`.pt2`, `.keras`); the model's URI."""
        options = {"serialization_format": "pt2", "validate_serving_input": False} if framework == "torch" else {}
        with _quiet():
            info = getattr(mlflow, FLAVORS[framework]).log_model(
                model,
                name=f"{self.name}-native",
                signature=signature(spec, "logits" if spec.labels else "standardised"),
                input_example=example,
                pip_requirements=PACKAGES[framework],
                **options,
            )
        return str(info.model_uri)

    def register_onnx(
        self, file: Path, spec: DataSpec, name: str, example: np.ndarray, tags: Mapping[str, str], why: str
    ) -> str:
        """Log an ONNX file to this run, register it under `name` with an alias, and say why; the new version."""
        import onnx

        with _quiet():
            info = mlflow.onnx.log_model(
                onnx.load(file),
                name=f"{self.name}-onnx",
                signature=signature(spec, spec.output_name),
                input_example=example,
                pip_requirements=PACKAGES["onnx"],
                registered_model_name=name,
                # The default strips the weights out of the model it is given.
                save_as_external_data=False,
            )
        version = str(info.registered_model_version)
        client = mlflow.MlflowClient()
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        client.update_model_version(name, version, why)
        client.update_registered_model(name, f"ONNX models for {spec.name}. The alias `champion` is what is served.")
        client.set_registered_model_alias(name, alias(), version)
        return version


@contextmanager
def start(experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """A new run with system metrics. An exception marks it FAILED, an interrupt KILLED.

    Raises InputError where the store cannot be reached.
    """
    experiment_id = _experiment(experiment)
    # The run of a stage is named by that stage, never by the environment.
    os.environ.pop("MLFLOW_RUN_ID", None)
    mlflow.set_system_metrics_sampling_interval(1)
    with _quiet():
        tags = {COLOUR: _next_colour(experiment_id), **tags}
        active = mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags, log_system_metrics=True)
    with _closing(active) as run:
        yield run


@contextmanager
def resume(experiment: str, name: str, run_id: str) -> Iterator[Run]:
    """Go on with a recorded run; where it no longer exists, with the one that took its place, or a new one."""
    experiment_id = _experiment(experiment)
    os.environ.pop("MLFLOW_RUN_ID", None)
    if found := _find(experiment_id, run_id):
        ended = mlflow.get_run(found).info.end_time
        active = mlflow.start_run(run_id=found)
    else:
        ended = None
        print(f"{name}: run {run_id} is not in {public_uri()}; a new run takes its place", flush=True)
        tags = {REPLACES: run_id, **provenance()}
        active = mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags)
    with _closing(active, ended) as run:
        yield run


def registered(name: str, alias: str) -> Registered:
    """The version that the alias names. Raises InputError where there is none, or the store does not answer."""
    require_store()
    mlflow.set_tracking_uri(uri())
    try:
        with _quiet():
            found = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
    except MlflowException as error:
        raise InputError(f"models:/{name}@{alias} in {public_uri()}: {' '.join(str(error).split())}") from error
    return Registered(str(found.version), str(found.run_id))


def download(name: str, found: Registered, folder: Path) -> tuple[Path, Path]:
    """A registered version's ONNX file and its champion.json, in `folder`. Raises InputError where it lacks one."""
    kept = {"run_id": found.run_id, "artifact_path": f"{bundle_folder(found.version)}/{MANIFEST}"}
    try:
        with _quiet():
            model = mlflow.artifacts.download_artifacts(f"models:/{name}/{found.version}", dst_path=str(folder))
            record = mlflow.artifacts.download_artifacts(**kept, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"models:/{name}/{found.version}: not one that `promote` registered ({reason})") from error
    return Path(model) / "model.onnx", Path(record)


def bundle_folder(version: str) -> str:
    """Where, among the artifacts of its run, a version's champion.json lies."""
    return f"champion/{version}"


def provenance() -> dict[str, str]:
    """Tags that say which code this is: git commit, whether it was changed, the DVC experiment."""
    tags = {"git_commit": _git("rev-parse", "HEAD") or "none", "git_dirty": str(_dirty()).lower()}
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc_experiment"] = experiment
    return tags


def signature(spec: DataSpec, output: str) -> ModelSignature:
    """Raw examples [N, *shape] in, float32 [N, K] named `output` out."""
    return ModelSignature(
        Schema([TensorSpec(np.dtype(spec.dtype), (-1, *spec.shape), spec.input_name)]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, spec.outputs), output)]),
    )


def workspace() -> Path:
    """The root of the user's own workspace, also from within the copy that `dvc exp run --temp` makes."""
    here = Path.cwd().resolve()
    copies = (parent for parent in here.parents if parent.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((parent.parents[2] for parent in copies), here)


def alias() -> str:
    """What a promoted version is called: `champion` in the user's workspace, `challenger` in an experiment's copy."""
    return "champion" if workspace() == Path.cwd().resolve() else "challenger"


def uri() -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or the SQLite file of the workspace by its full path."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri()


def public_uri() -> str:
    """Where runs go, without the name, password or query that may be in it: to be shown and recorded."""
    parts = urlsplit(uri())
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if "://" in uri() else uri()


def require_store() -> None:
    """Raise InputError where the store does not answer: to be told of it before any work, not after."""
    verify = MLFLOW_TRACKING_SERVER_CERT_PATH.get() or not MLFLOW_TRACKING_INSECURE_TLS.get()
    reachability.require(uri(), public_uri(), verify)


def _experiment(name: str) -> str:
    """Connect, find or create the experiment; its id. Raises InputError where that cannot be done."""
    require_store()
    mlflow.set_tracking_uri(uri())
    try:
        # Two processes that create the database at once collide.
        with _quiet(), FileLock(workspace() / ".dvc" / "tmp" / "mlflow.lock") if _is_own() else nullcontext():
            found = mlflow.get_experiment_by_name(name)
            if found is None:
                return str(mlflow.create_experiment(name, _artifacts()))
    except MlflowException as error:
        raise InputError(f"MLflow store {public_uri()}: {' '.join(str(error).split())}") from error
    if found.lifecycle_stage != "active":
        raise InputError(
            f"tracking.experiment = '{name}' was deleted in {public_uri()}; restore it or choose another name"
        )
    return str(found.experiment_id)


def _own_uri() -> str:
    return f"sqlite:///{workspace() / 'mlflow.db'}"


def _is_own() -> bool:
    """Asked by address: MLflow sets MLFLOW_TRACKING_URI itself as soon as it is told where to go."""
    return uri() == _own_uri()


def _artifacts() -> str | None:
    """Artifacts lie beside our own SQLite file; a server chooses for itself."""
    return (workspace() / "mlartifacts").as_uri() if _is_own() else None


def _find(experiment_id: str, run_id: str) -> str | None:
    """The run itself, or the one that took its place; None where there is neither."""
    try:
        if mlflow.get_run(run_id).info.lifecycle_stage == "active":
            return run_id
    except MlflowException as error:
        if error.error_code not in GONE:
            raise InputError(f"MLflow store {public_uri()}: {' '.join(str(error).split())}") from error
    found = mlflow.MlflowClient().search_runs([experiment_id], f"tags.`{REPLACES}` = '{run_id}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _next_colour(experiment_id: str) -> str:
    """The colour after that of the latest run: MLflow's own choice gives neighbours the same one now and then."""
    latest = mlflow.MlflowClient().search_runs([experiment_id], order_by=["start_time DESC"], max_results=1)
    shown = latest[0].data.tags.get(COLOUR) if latest else None
    return PALETTE[(PALETTE.index(shown) + 1) % len(PALETTE)] if shown in PALETTE else PALETTE[0]


@contextmanager
def _closing(active: mlflow.ActiveRun, ended: int | None = None) -> Iterator[Run]:
    """End the run as its work ended, now or at `ended` (ms since 1970): a run lasts as long as its training."""
    run_id, status = active.info.run_id, RunStatus.FAILED
    try:
        yield Run(run_id, active.info.run_name)
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        raise
    finally:
        with _quiet():
            mlflow.end_run(RunStatus.to_string(status))
            if ended:
                mlflow.MlflowClient().set_terminated(run_id, RunStatus.to_string(status), ended)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide MLflow's advice on pip versions, examples and its own threads; errors still raise."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _git(*arguments: str) -> str:
    """Output of a git command; empty where there is no git or no repository."""
    try:
        found = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip()


def _dirty() -> bool:
    """Whether code or parameters differ from the commit; dvc.lock is what this very run writes."""
    return bool(_git("status", "--porcelain", "--", ".", ":!dvc.lock"))
