"""Check of a champion bundle in ONNX Runtime: the graph returns the stored outputs for the stored examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError, one_line
from models.onnx import inference
from models.onnx.session import open_session
from models.spec import DataSpec

TOLERANCE = 1e-3  # equal to that of `serving.inference.champion`: relative where outputs exceed 1


def require_equal(manifest: Mapping[str, Any], model: Path) -> None:
    """Raise InputError unless the graph of a bundle with this `manifest` returns what is stored there."""
    inputs, expected = _read(manifest, model)
    session = open_session(model, "cpu")
    try:
        outputs = inference.run(session, inputs)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise InputError(f"{model}: no outputs for the stored example: {one_line(error)}") from error
    if outputs.shape != expected.shape:
        raise InputError(f"{model}: outputs have shape {outputs.shape}, the stored ones {expected.shape}")
    difference = float((np.abs(outputs - expected) / np.maximum(1, np.abs(expected))).max())
    if not difference <= TOLERANCE:  # NaN fails too
        raise InputError(f"{model}: outputs differ from the stored ones by {difference:.2g}; allowed: {TOLERANCE}")


def _read(manifest: Mapping[str, Any], model: Path) -> tuple[np.ndarray, np.ndarray]:
    """The stored inputs [n, *shape] and outputs float32."""
    spec = DataSpec.from_dict(dict(manifest["spec"]), f"spec of {model}")
    try:
        inputs = np.asarray(manifest["example"]["inputs"], spec.dtype)
        expected = np.asarray(manifest["example"]["outputs"], np.float32)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{model}: the stored example does not match the spec ({one_line(error)})") from error
    if not len(inputs) or inputs.shape[1:] != spec.shape:
        raise InputError(f"{model}: stored inputs have shape {inputs.shape}; allowed: (n, {str(spec.shape)[1:]}")
    return inputs, expected
