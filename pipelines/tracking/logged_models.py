"""MLflow models: written to a folder with signature and input example, and uploaded to a run."""

from pathlib import Path
from typing import Any

import numpy as np

from models.config import Framework
from models.spec import DataSpec
from pipelines.tracking.client import mlflow, quiet

# mlflow.keras cannot store an input example (mlflow/mlflow#16183); mlflow.tensorflow writes the same `.keras`.
FLAVORS = {"torch": "pytorch", "keras": "tensorflow"}
REQUIREMENTS = {"torch": ["torch"], "keras": ["tensorflow", "keras"], "onnx": ["onnx", "onnxruntime"]}
RECORD_TAG = "tandem.record"


def write_native(model: Any, framework: Framework, spec: DataSpec, example: np.ndarray, folder: Path) -> None:
    """Write a trained torch or Keras model without pickle, as `.pt2` or `.keras`."""
    options = {"serialization_format": "pt2"} if framework == "torch" else {}
    with quiet():
        getattr(mlflow, FLAVORS[framework]).save_model(
            model,
            path=str(folder),
            signature=signature(spec, "logits" if spec.is_classification else "standardised"),
            input_example=example,
            pip_requirements=REQUIREMENTS[framework],
            **options,
        )


def write_onnx(file: Path, spec: DataSpec, example: np.ndarray, folder: Path) -> None:
    """Write an ONNX file as an MLflow model."""
    import onnx

    with quiet():
        mlflow.onnx.save_model(
            onnx.load(file),
            path=str(folder),
            signature=signature(spec, spec.output_name),
            input_example=example,
            pip_requirements=REQUIREMENTS["onnx"],
            save_as_external_data=False,  # True, the default, removes the weights from the model
        )


def upload(client: Any, run_id: str, folder: Path, name: str, key: str) -> str:
    """Upload the model in `folder` as an output of a run, at most once per `key`; its id."""
    run = client.get_run(run_id)
    model = _existing(client, run, key) or client.create_logged_model(
        run.info.experiment_id, name, run_id, tags={RECORD_TAG: key}, params=run.data.params
    )
    _write_ids(folder, model, run_id)
    client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(model.model_id, step=0)])
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _existing(client: Any, run: Any, key: str) -> Any:
    """The model of the run that was created for `key`, or None."""
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return next((model for model in models if model.tags.get(RECORD_TAG) == key), None)


def _write_ids(folder: Path, model: Any, run_id: str) -> None:
    """Write to the file MLmodel what is known once the model has been created."""
    description = mlflow.models.Model.load(str(folder))
    description.model_id = description.model_uuid = model.model_id
    description.run_id, description.artifact_path = run_id, model.artifact_location
    description.save(str(folder / "MLmodel"))


def signature(spec: DataSpec, output: str) -> mlflow.models.ModelSignature:
    """Input: raw examples [N, *shape]; output: float32 [N, K], named `output`."""
    tensor, schema = mlflow.types.TensorSpec, mlflow.types.Schema
    return mlflow.models.ModelSignature(
        schema([tensor(np.dtype(spec.dtype), (-1, *spec.shape), spec.input_name)]),
        schema([tensor(np.dtype(np.float32), (-1, spec.outputs), output)]),
    )
