"""The service's prediction log, read back."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from models import summary
from models.errors import InputError
from models.spec import DataSpec

PATTERN = "*.jsonl*"  # the files that were set aside too


class Line(BaseModel):
    """One example: what is left of its input, and the answer. Other keys are not looked at."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    time: float
    sha256: str
    inputs: list[float | None]  # null where a value was missing
    label: str = ""
    probabilities: list[float] = []
    value: float = 0.0


@dataclass(frozen=True)
class Logged:
    """The newest examples that one model answered.

    `inputs` float64 [n, S] as `models.summary` gives them, `outputs` float64 [n, K] and the
    `predicted` class int64 [n]; `first` and `last` in seconds since 1970. `others` counts the lines
    of other models, `broken` those that could not be read.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    predicted: np.ndarray
    first: float
    last: float
    others: int
    broken: int


def read(folder: Path, spec: DataSpec, sha256: str, most: int) -> Logged:
    """The newest `most` lines of the model with this hash. Raises InputError where there is no log."""
    files = sorted(folder.glob(PATTERN))
    if not files:
        raise InputError(f"{folder}: no prediction log there; serve with TANDEM_PREDICTION_LOG set to a folder")
    skipped: Counter[str] = Counter()
    lines = heapq.nlargest(most, _lines(files, spec, sha256, skipped), key=lambda line: line.time)
    predicted = [spec.labels.index(line.label) if spec.labels else 0 for line in lines]
    outputs = [line.probabilities if spec.labels else [line.value] for line in lines]
    return Logged(
        np.array([line.inputs for line in lines], np.float64).reshape(len(lines), len(summary.names(spec))),
        np.array(outputs).reshape(len(lines), spec.outputs),
        np.array(predicted, np.int64),
        lines[-1].time if lines else 0.0,
        lines[0].time if lines else 0.0,
        skipped["others"],
        skipped["broken"],
    )


def _lines(files: list[Path], spec: DataSpec, sha256: str, skipped: Counter[str]) -> Iterator[Line]:
    """The model's lines; what is passed over is counted in `skipped`."""
    for text in _texts(files):
        try:
            line = Line.model_validate_json(text)
        except ValidationError:  # the last line of a killed worker, or of a full disk
            skipped["broken"] += 1
            continue
        if line.sha256 != sha256:
            skipped["others"] += 1
        elif not _fits(line, spec):
            skipped["broken"] += 1
        else:
            yield line


def _texts(files: list[Path]) -> Iterator[bytes]:
    """Every line of every file; one that is rotated away meanwhile is let go."""
    for path in files:
        try:
            with path.open("rb") as handle:
                yield from handle
        except FileNotFoundError:
            continue


def _fits(line: Line, spec: DataSpec) -> bool:
    """Whether the line has what an example of this spec has."""
    answer = not spec.labels or (line.label in spec.labels and len(line.probabilities) == spec.outputs)
    return answer and len(line.inputs) == len(summary.names(spec))
