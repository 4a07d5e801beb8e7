"""The test examples with the largest errors: misclassified ones by confidence, or values by their difference."""

import io
from base64 import b64encode
from typing import Any

import numpy as np
from PIL import Image

from models.spec import UNKNOWN, DataSpec
from pipelines.evaluate.predictions import Predictions

MAX_EXAMPLES = 12
MAX_FEATURES = 12
MAX_SIDE = 96  # pixels of an image; a larger one is subsampled


def find(test: Predictions) -> dict[str, Any]:
    """JSON-ready: the number of test examples, that of misclassified ones (null of a regression), and the worst ones.

    Of an image the input is a PNG in base64, of a row its first features by name, missing values as null.
    """
    order = misclassified_by_confidence(test) if test.spec.is_classification else _by_difference(test)
    return {
        "examples": len(test.targets),
        "misclassified": len(order) if test.spec.is_classification else None,
        "worst": [{**_outcome(test, row), **_input(test.inputs[row], test.spec)} for row in order[:MAX_EXAMPLES]],
    }


def misclassified_by_confidence(test: Predictions) -> np.ndarray:
    """Indices of the misclassified examples, those with the highest confidence first."""
    wrong = np.flatnonzero(test.predicted != test.targets)
    return np.asarray(wrong[np.argsort(-test.confidence[wrong], kind="stable")])


def _by_difference(test: Predictions) -> np.ndarray:
    """Indices of the examples, those with the largest absolute difference first."""
    difference = np.abs(test.values.astype(np.float64) - test.targets)
    return np.asarray(np.argsort(-difference, kind="stable"))


def _outcome(test: Predictions, row: int) -> dict[str, Any]:
    """Row in the test split, prediction and target."""
    if not test.spec.is_classification:
        return {"row": int(row), "predicted": float(test.values[row]), "actual": float(test.targets[row])}
    predicted, actual = (test.spec.labels[int(labels[row])] for labels in (test.predicted, test.targets))
    return {"row": int(row), "predicted": predicted, "actual": actual, "confidence": float(test.confidence[row])}


def _input(example: np.ndarray, spec: DataSpec) -> dict[str, Any]:
    if spec.kind == "image":
        return {"image": _png(example)}
    columns = zip(spec.features, spec.categories, example.tolist(), strict=True)
    values = [(name, _value(number, categories)) for name, categories, number in columns]
    return {"features": dict(values[:MAX_FEATURES])}


def _value(number: float, categories: tuple[str, ...]) -> float | str | None:
    """A number, the name of a category, or None of a missing value."""
    if np.isnan(number):
        return None
    if categories:
        return "unknown" if number == UNKNOWN else categories[int(number)]
    return number


def _png(image_HWC: np.ndarray) -> str:
    """A uint8 image as PNG in base64."""
    step = -(-max(image_HWC.shape[:2]) // MAX_SIDE)
    pixels = np.ascontiguousarray(image_HWC[::step, ::step])
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return b64encode(buffer.getvalue()).decode()
