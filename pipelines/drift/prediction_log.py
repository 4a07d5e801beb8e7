"""Reader of the prediction log of the service."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from models import summary
from models.spec import DataSpec
from pipelines.artifacts import log_files


class LogEntry(BaseModel):
    """One example: the summary of its input, and the prediction. Other keys are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    time: float
    sha256: str
    inputs: list[float | None]  # null where a value was missing
    label: str = ""
    probabilities: list[float] = []
    value: float = 0.0


@dataclass(frozen=True)
class LoggedPredictions:
    """The newest examples predicted by one model.

    `inputs` float64 [n, S] are summaries of `models.summary`, `outputs` float64 [n, K], `predicted` classes
    int64 [n]; `first` and `last` in seconds since 1970. `other_models` and `unreadable` count ignored lines.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    predicted: np.ndarray
    first: float
    last: float
    other_models: int
    unreadable: int


def read(folder: Path, spec: DataSpec, sha256: str, limit: int) -> LoggedPredictions:
    """The newest entries of the model with this SHA-256, at most `limit`. Raises InputError where there is no log."""
    ignored: Counter[str] = Counter()
    lines = log_files.lines(log_files.find(folder))
    entries = heapq.nlargest(limit, _entries(lines, spec, sha256, ignored), key=lambda entry: entry.time)
    predicted = [spec.labels.index(entry.label) if spec.is_classification else 0 for entry in entries]
    outputs = [entry.probabilities if spec.is_classification else [entry.value] for entry in entries]
    return LoggedPredictions(
        np.array([entry.inputs for entry in entries], np.float64).reshape(len(entries), len(summary.names(spec))),
        np.array(outputs).reshape(len(entries), spec.outputs),
        np.array(predicted, np.int64),
        entries[-1].time if entries else 0.0,
        entries[0].time if entries else 0.0,
        ignored["other_models"],
        ignored["unreadable"],
    )


def _entries(lines: Iterable[bytes], spec: DataSpec, sha256: str, ignored: Counter[str]) -> Iterator[LogEntry]:
    """The entries of the model; other lines are counted in `ignored`."""
    for line in lines:
        try:
            entry = LogEntry.model_validate_json(line)
        except ValidationError:  # the last line of a killed worker, or of a full disk
            ignored["unreadable"] += 1
            continue
        if entry.sha256 != sha256:
            ignored["other_models"] += 1
        elif not _is_valid(entry, spec):
            ignored["unreadable"] += 1
        else:
            yield entry


def _is_valid(entry: LogEntry, spec: DataSpec) -> bool:
    """True where label, probabilities and inputs have the shapes of an example of this spec."""
    valid = not spec.is_classification or (entry.label in spec.labels and len(entry.probabilities) == spec.outputs)
    return valid and len(entry.inputs) == len(summary.names(spec))
