"""What the stages before wrote about one candidate."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.artifacts import json_object, metrics_file, paths
from pipelines.artifacts.hashing import require_sha256

MODEL, INT8 = "model.onnx", "model.int8.onnx"


@dataclass(frozen=True)
class Evidence:
    """The records of training (run.json), export (parity.json) and evaluation (metrics) of one graph of a candidate.

    `file` is the graph's, MODEL or INT8. `faster` says of the int8 graph that it took less time than the other
    one at every batch size; the other one has nothing to be faster than.
    """

    candidate: str
    file: str
    faster: bool
    training: Mapping[str, Any]
    parity: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The row in every table: `torch-cnn`, and `torch-cnn-int8` of its int8 graph."""
        return self.candidate if self.file == MODEL else f"{self.candidate}-int8"

    @property
    def proved(self) -> bool:
        """Whether the graph is within its tolerances."""
        return bool(self.parity["files"][self.file]["passed"])

    @property
    def sha256(self) -> str:
        """The hash of the graph whose parity was proved."""
        return str(self.parity["files"][self.file]["sha256"])

    @property
    def measure(self) -> str:
        """What candidates are compared by: `accuracy`, or `r2` of a regression."""
        return "r2" if "r2" in self.metrics["validation"] else "accuracy"

    @property
    def score(self) -> float:
        """The measure on the validation split."""
        return float(self.metrics["validation"][self.measure])

    @property
    def smallest_batch(self) -> Mapping[str, float]:
        """Latency at the smallest batch that was measured."""
        latency: Mapping[str, Mapping[str, float]] = self.metrics["latency"]
        return latency[min(latency, key=lambda name: int(name.removeprefix("batch_")))]


def read(name: str) -> list[Evidence]:
    """Everything on record about each graph of a candidate. Raises InputError where a record is missing or not JSON."""
    records, metrics = (training(name), parity(name)), dict(metrics_file.read(paths.metrics(name)))
    int8 = metrics.pop("int8", None)
    found = [Evidence(name, MODEL, True, *records, metrics)]
    return [*found, Evidence(name, INT8, int8["faster"], *records, int8)] if int8 else found


def graphs(name: str) -> list[str]:
    """The files that were exported for ONNX Runtime, MODEL first. Raises InputError as `read` does."""
    return [file for file in (MODEL, INT8) if file in parity(name)["files"]]


def model(name: str, file: str = MODEL) -> Path:
    """An exported graph. Raises InputError where it is not the one that was compared with the trained model."""
    path = paths.exports(name) / file
    require_sha256(path, parity(name)["files"][file]["sha256"])
    return path


def training(name: str) -> Mapping[str, Any]:
    """What `train` wrote about its run. Raises InputError as `read` does."""
    return json_object.read(paths.checkpoint(name) / "run.json")


def parity(name: str) -> Mapping[str, Any]:
    """What `export` proved. Raises InputError as `read` does."""
    return json_object.read(paths.exports(name) / "parity.json")
