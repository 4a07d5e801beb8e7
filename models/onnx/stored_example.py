"""Check of a champion bundle in ONNX Runtime: the graph returns the stored outputs for the stored examples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.onnx import inference
from models.onnx.session import open_session
from models.spec import DataSpec

TOLERANCE = 1e-3  # equal to that of `serving.inference.champion`: relative where outputs exceed 1


def require_equal(manifest: Mapping[str, Any], model: Path) -> None:
    """Raise InputError unless the graph of a bundle with this `manifest` returns what is stored there."""
    spec = DataSpec.from_dict(dict(manifest["spec"]), f"spec of {model}")
    inputs = np.asarray(manifest["example"]["inputs"], spec.dtype)
    expected = np.asarray(manifest["example"]["outputs"], np.float32)
    outputs = inference.run(open_session(model, "cpu"), inputs)
    if outputs.shape != expected.shape:
        raise InputError(f"{model}: outputs have shape {outputs.shape}, the stored ones {expected.shape}")
    difference = float((np.abs(outputs - expected) / np.maximum(1, np.abs(expected))).max())
    if not difference <= TOLERANCE:  # NaN fails too
        raise InputError(f"{model}: outputs differ from the stored ones by {difference:.2g}; allowed: {TOLERANCE}")
