"""MLflow models: written to a folder with signature, input example and requirements, and uploaded to a run.

A model has two flavors: that of its framework, for `mlflow.pytorch.load_model` and its like, and `python_function`, for
`mlflow.pyfunc.load_model` and `mlflow models serve`, which takes raw examples as the service does.
"""

import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.config import Framework
from models.spec import DataSpec
from pipelines.tracking import provenance, tandem_model
from pipelines.tracking.client import mlflow, quiet
from pipelines.tracking.run import NATIVE_FILES

KEY_TAG = "tandem.key"
LOADER = Path(tandem_model.__file__)
PACKAGES = {"torch": ["torch"], "keras": ["tensorflow", "keras"], "onnx": ["onnxruntime-gpu", "onnxruntime"]}
ONNX_FILE = "model.onnx"
READY = "READY"


def write_native(file: Path, framework: Framework, spec: DataSpec, example: np.ndarray, folder: Path) -> None:
    """Write an MLflow model of a file that `export` has written: `model.pt2` or `model.keras`."""
    model = _write_pyfunc(spec, example, framework, folder)
    target = folder / "data" / NATIVE_FILES[framework]
    target.parent.mkdir()
    shutil.copy(file, target)
    if framework == "torch":
        model.add_flavor("pytorch", model_data="data", pytorch_version=metadata.version("torch"), code="code")
    else:
        # What mlflow.tensorflow reads; mlflow.keras has no input example (mlflow/mlflow#16183).
        (target.parent / "save_format.txt").write_text("keras", "utf-8")
        (target.parent / "keras_module.txt").write_text("keras", "utf-8")
        version = metadata.version("keras")
        model.add_flavor(
            "tensorflow", data="data", model_type="keras", keras_version=version, save_format="keras", code="code"
        )
    model.save(str(folder / "MLmodel"))


def write_onnx(file: Path, spec: DataSpec, example: np.ndarray, folder: Path) -> None:
    """Write an MLflow model of an ONNX file."""
    model = _write_pyfunc(spec, example, "onnx", folder)
    shutil.copy(file, folder / ONNX_FILE)
    # Without providers, MLflow tries CUDA and prints errors where there is none.
    providers = ["CPUExecutionProvider"]
    model.add_flavor(
        "onnx", onnx_version=metadata.version("onnx"), data=ONNX_FILE, providers=providers, onnx_session_options=None
    )
    model.save(str(folder / "MLmodel"))


def _write_pyfunc(spec: DataSpec, example: np.ndarray, kind: str, folder: Path) -> Any:
    """Write all but the file of the model: code, spec, signature, example and requirements; the description."""
    with quiet():
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=LOADER.stem,
            code_paths=[str(LOADER)],
            signature=signature(spec),
            input_example=input_example(spec, example),
            pip_requirements=requirements(kind),
        )
    spec.write(folder / "spec.json")
    return mlflow.models.Model.load(str(folder))


def requirements(kind: str) -> list[str]:
    """The packages that a model of `kind` needs, in the installed versions."""
    versions = provenance.installed(("mlflow", "numpy", "pandas", *PACKAGES[kind]))
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]  # without +cpu and the like


def input_example(spec: DataSpec, example: np.ndarray) -> Any:
    """Raw examples as `predict` takes them: images [N, H, W, C], or a DataFrame with categories by name."""
    if spec.kind == "image":
        return {spec.input_name: np.array(example)}
    columns = zip(spec.features, spec.categories, example.T.tolist(), strict=True)
    return pd.DataFrame({name: [_cell(value, names) for value in values] for name, names, values in columns})


def _cell(value: float, names: tuple[str, ...]) -> Any:
    if np.isnan(value) or (names and value < 0):
        return None
    return names[int(value)] if names else value


def signature(spec: DataSpec) -> mlflow.models.ModelSignature:
    """Input: images [N, H, W, C], or the columns of a table; output: float32 [N, K].

    The columns have the type `any`, as MLflow would reject integers for `double`; `predict` checks the values.
    """
    tensor, column, schema = mlflow.types.TensorSpec, mlflow.types.ColSpec, mlflow.types.Schema
    if spec.kind == "image":
        inputs = [tensor(np.dtype(spec.dtype), (-1, *spec.shape), spec.input_name)]
    else:
        inputs = [column(mlflow.types.schema.AnyType(), name) for name in spec.features]
    outputs = [tensor(np.dtype(np.float32), (-1, spec.outputs), spec.output_name)]
    return mlflow.models.ModelSignature(schema(inputs), schema(outputs))


def upload(client: Any, run_id: str, folder: Path, name: str, key: str) -> str:
    """Upload the model in `folder` as an output of a run, at most once per `key`; its id."""
    run = client.get_run(run_id)
    model = _existing(client, run, key) or client.create_logged_model(
        run.info.experiment_id, name, run_id, tags={KEY_TAG: key}, params=run.data.params
    )
    if model.status == READY:
        return str(model.model_id)
    _write_ids(folder, model, run_id)
    client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(model.model_id, step=0)])
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, READY)
    return str(model.model_id)


def _existing(client: Any, run: Any, key: str) -> Any:
    """The model of the run that was created for `key`, or None."""
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    return next((model for model in models if model.tags.get(KEY_TAG) == key), None)


def _write_ids(folder: Path, model: Any, run_id: str) -> None:
    """Write to the file MLmodel what is known once the model has been created."""
    description = mlflow.models.Model.load(str(folder))
    description.model_id = description.model_uuid = model.model_id
    description.run_id, description.artifact_path = run_id, model.artifact_location
    description.save(str(folder / "MLmodel"))
