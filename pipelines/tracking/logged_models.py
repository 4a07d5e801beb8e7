"""Models logged to the active run, with signature and input example."""

from pathlib import Path
from typing import Any

import numpy as np

from models.config import Framework
from models.spec import DataSpec
from pipelines.tracking.client import mlflow, quiet

# mlflow.keras cannot store an input example (mlflow/mlflow#16183); mlflow.tensorflow writes the same `.keras`.
FLAVORS = {"torch": "pytorch", "keras": "tensorflow"}
REQUIREMENTS = {"torch": ["torch"], "keras": ["tensorflow", "keras"], "onnx": ["onnx", "onnxruntime"]}


def log_native(model: Any, framework: Framework, spec: DataSpec, example: np.ndarray, name: str) -> None:
    """Log a trained torch or Keras model without pickle, as `.pt2` or `.keras`."""
    options = {"serialization_format": "pt2", "validate_serving_input": False} if framework == "torch" else {}
    with quiet():
        getattr(mlflow, FLAVORS[framework]).log_model(
            model,
            name=name,
            signature=signature(spec, "logits" if spec.is_classification else "standardised"),
            input_example=example,
            pip_requirements=REQUIREMENTS[framework],
            **options,
        )


def log_onnx(file: Path, spec: DataSpec, example: np.ndarray, name: str, registered_name: str) -> str:
    """Log an ONNX file and register it as a new version of `registered_name`; the version."""
    import onnx

    with quiet():
        info = mlflow.onnx.log_model(
            onnx.load(file),
            name=name,
            signature=signature(spec, spec.output_name),
            input_example=example,
            pip_requirements=REQUIREMENTS["onnx"],
            registered_model_name=registered_name,
            save_as_external_data=False,  # True, the default, removes the weights from the model
        )
    return str(info.registered_model_version)


def signature(spec: DataSpec, output: str) -> mlflow.models.ModelSignature:
    """Input: raw examples [N, *shape]; output: float32 [N, K], named `output`."""
    tensor, schema = mlflow.types.TensorSpec, mlflow.types.Schema
    return mlflow.models.ModelSignature(
        schema([tensor(np.dtype(spec.dtype), (-1, *spec.shape), spec.input_name)]),
        schema([tensor(np.dtype(np.float32), (-1, spec.outputs), output)]),
    )
