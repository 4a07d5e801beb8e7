"""Specification of the data of a model. Written by `prepare`, read by every later stage and by serving."""

import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from models.errors import InputError, first_problem

Task = Literal["classification", "regression"]
Kind = Literal["image", "tabular"]
Dtype = Literal["uint8", "float32"]
Metric = Literal["accuracy", "mae"]  # of a training, beside its loss

UNKNOWN = -1.0  # in a categorical column: a category that the training split has not


@dataclass(frozen=True)
class DataSpec:
    """One example and its target.

    `shape` and `dtype` describe one raw example without the batch: uint8 (H, W, C) for images,
    float32 (F,) for tables. `labels` are the class names in the order of the targets 0..K-1,
    empty for regression. `mean` and `std` are statistics of the raw training split, one number
    for each channel or feature; models scale with them inside the graph.

    Of a table's features, one entry each: `categories` are the names behind the numbers 0, 1, ... of a
    categorical column, empty for a column of numbers; `fill` stands for a missing value, None where
    missing values are rejected. `target_mean` and `target_std` are a regression's, 0 and 1 otherwise.
    """

    name: str
    task: Task
    kind: Kind
    shape: Annotated[tuple[int, ...], Field(min_length=1)]
    dtype: Dtype
    labels: tuple[str, ...]
    target: str
    features: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    categories: tuple[tuple[str, ...], ...] = ()
    fill: tuple[float | None, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0

    def __post_init__(self) -> None:
        """Raise InputError where a table's entries are not one for each feature."""
        for name in ("features", "mean", "std", "categories", "fill") if self.kind == "tabular" else ():
            count, allowed = len(getattr(self, name)), self.shape[0]
            if count != allowed:
                raise InputError(f"spec of '{self.name}': {name} = {count}; allowed: {allowed}, one for each feature")

    @property
    def is_classification(self) -> bool:
        """True of a classification, False of a regression."""
        return self.task == "classification"

    @property
    def input_name(self) -> str:
        """Name of the exported graph's one input."""
        return "image" if self.kind == "image" else "features"

    @property
    def output_name(self) -> str:
        """Name of the exported graph's one output."""
        return "probabilities" if self.is_classification else "prediction"

    @property
    def outputs(self) -> int:
        """Width of the model's last layer: K classes, or 1."""
        return len(self.labels) if self.is_classification else 1

    @property
    def width(self) -> int:
        """The number of values that a model's first layer makes of one example: each category is a column."""
        if self.kind == "image":
            return math.prod(self.shape)
        return sum(len(names) or 1 for names in self.categories)

    def to_dict(self) -> dict[str, Any]:
        """The spec as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "spec") -> "DataSpec":
        """The reverse of `to_dict`. Raises InputError for missing or unknown keys and wrong types, naming `where`."""
        names = {field.name for field in fields(cls)}
        if names != set(values):
            wrong = ", ".join(sorted(names ^ set(values)))
            raise InputError(f"{where}: missing or unknown keys: {wrong}; allowed: {', '.join(sorted(names))}")
        try:
            return _adapter().validate_python(values)
        except ValidationError as error:
            raise InputError(f"{where}: {first_problem(error)}") from error

    @classmethod
    def read(cls, path: Path) -> "DataSpec":
        """Read `spec.json`. Raises InputError where it is not a spec."""
        try:
            values = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits, and of deep nesting
            raise InputError(f"{path}: not JSON ({error}); run `dvc repro prepare`") from error
        if not isinstance(values, dict):
            raise InputError(f"{path}: holds {type(values).__name__}; allowed: an object; run `dvc repro prepare`")
        return cls.from_dict(values, str(path))

    def write(self, path: Path) -> None:
        """Write `spec.json`, with characters beyond ASCII as they are."""
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")

    def example(self, count: int = 1) -> np.ndarray:
        """`count` empty examples, [count, *shape]: for tracing, warming and signatures."""
        return np.zeros((count, *self.shape), self.dtype)


@cache
def _adapter() -> TypeAdapter[DataSpec]:
    """Checks the types of a spec from JSON, whose lists become tuples; building it takes long."""
    return TypeAdapter(DataSpec)


def scaling(spec: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset, float32, that give the raw training split mean 0 and standard deviation 1.

    Both have a dimension for each of the batch's, [1, ..., C]: ONNX Runtime is slow with scalars.
    """
    mean, std = np.array(spec.mean), np.array(spec.std)
    shape = (*(1 for _ in spec.shape), -1)
    return np.float32(1 / std).reshape(shape), np.float32(-mean / std).reshape(shape)
