"""Predictions of a logged model through `mlflow.pyfunc`.

This file is stored with each model and loaded from there: it imports nothing of Tandem. Rows of a table are read as the
service reads them, see `serving/api/table_rows.py`.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

Predict = Callable[[np.ndarray], np.ndarray]
UNKNOWN = -1.0  # a category that the training data does not have
BOOLEANS = {True: "true", False: "false"}  # a boolean column is categorical
FLOAT32_MAX = float(np.finfo(np.float32).max)


def _load_pyfunc(folder: str) -> "TandemModel":
    """The model in the folder of an MLflow model. MLflow calls it by this name."""
    path = Path(folder)
    spec = json.loads((path / "spec.json").read_text("utf-8"))
    for file, load in LOADERS.items():
        if (path / file).exists():
            return TandemModel(spec, load(path / file, spec))
    raise FileNotFoundError(f"{folder}: none of {', '.join(LOADERS)}")


class TandemModel:
    """A trained model: raw examples to probabilities [N, K], or to predictions [N, 1] of a regression."""

    def __init__(self, spec: Mapping[str, Any], predict: Predict) -> None:
        self.spec = spec
        self._predict = predict

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> np.ndarray:  # noqa: ARG002
        """Images as an array or as {"image": array}; rows of a table as a DataFrame with the names of the features.

        Returns float32 [N, K]. Raises ValueError for a row that the service rejects.
        """
        return self._predict(self._raw(model_input))

    def _raw(self, model_input: Any) -> np.ndarray:
        """Raw examples [N, *shape] in the dtype of the spec."""
        if self.spec["kind"] == "tabular":
            return encode(pd.DataFrame(model_input), self.spec)
        array = model_input["image"] if isinstance(model_input, Mapping) else model_input
        return np.ascontiguousarray(array, self.spec["dtype"])


def encode(rows: pd.DataFrame, spec: Mapping[str, Any]) -> np.ndarray:
    """Rows by feature name -> float32 [N, F]: numbers, codes of categories, UNKNOWN, and NaN for a missing value.

    Raises ValueError, naming row and column, for what the service rejects.
    """
    known, given = set(spec["features"]), set(map(str, rows.columns))
    if given != known:
        names = {"missing features": known - given, "unknown features": given - known}
        wrong = [f"{kind}: {', '.join(sorted(columns))[:200]}" for kind, columns in names.items() if columns]
        raise ValueError("; ".join(wrong))
    columns = zip(spec["features"], spec["categories"], spec["fill"], strict=True)
    encoded = [_encode_column(_cells(rows[name]), name, names, fill is not None) for name, names, fill in columns]
    return np.array(encoded, np.float32).T.copy()


def _cells(column: pd.Series) -> list[Any]:
    """The cells as Python values. MLflow reads a dict of lists of text as one row that holds these lists."""
    cells = column.astype(object).tolist()
    return list(cells[0]) if len(cells) == 1 and isinstance(cells[0], list) else cells


def _encode_column(cells: Sequence[Any], name: str, names: Sequence[str], may_be_missing: bool) -> list[float]:
    codes = {category: float(code) for code, category in enumerate(names)}
    values = []
    for row, cell in enumerate(cells):
        is_missing = cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell))
        if is_missing and may_be_missing:
            values.append(np.nan)
        elif not is_missing and (isinstance(cell, str | bool) if codes else _is_number(cell)):
            values.append(_code(cell, codes) if codes else float(cell))
        else:
            allowed = f"text such as {names[0]!r}" if codes else "a finite number within float32"
            allowed += ", or a missing value" if may_be_missing else ""
            raise ValueError(f"row {row}, {name!r}: found {str(cell)[:40]!r}; allowed: {allowed}")
    return values


def _is_number(cell: Any) -> bool:
    is_number = isinstance(cell, int | float | np.integer | np.floating) and not isinstance(cell, bool)
    return is_number and abs(cell) <= FLOAT32_MAX


def _code(cell: str | bool, codes: Mapping[str, float]) -> float:
    """The code of a category, read as in a CSV file: without surrounding space, and TRUE is true."""
    text = BOOLEANS[cell] if isinstance(cell, bool) else cell.strip()
    return codes.get(text.lower() if codes.keys() <= set(BOOLEANS.values()) else text, UNKNOWN)


def _activation(logits: np.ndarray, spec: Mapping[str, Any]) -> np.ndarray:
    """Softmax, or the target's own unit."""
    if spec["task"] == "regression":
        scaled = logits * np.float32(spec["target_std"]) + np.float32(spec["target_mean"])
        return cast("np.ndarray", scaled)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return cast("np.ndarray", exponentials / exponentials.sum(-1, keepdims=True))


def _load_torch(file: Path, _: Mapping[str, Any]) -> Predict:
    import torch

    module = torch.export.load(file).module()

    @torch.no_grad()
    def predict(raw: np.ndarray) -> np.ndarray:
        return cast("np.ndarray", module(torch.from_numpy(raw)).numpy())

    return predict


def _load_keras(file: Path, spec: Mapping[str, Any]) -> Predict:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    model = keras.models.load_model(file, compile=False)
    return lambda raw: _activation(np.asarray(model(raw, training=False)), spec)


def _load_onnx(file: Path, _: Mapping[str, Any]) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda raw: cast("np.ndarray", session.run(None, {name: raw})[0])


LOADERS: dict[str, Callable[[Path, Mapping[str, Any]], Predict]] = {
    "data/model.pt2": _load_torch,
    "data/model.keras": _load_keras,
    "model.onnx": _load_onnx,
}
