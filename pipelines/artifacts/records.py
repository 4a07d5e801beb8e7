"""Recorded outputs of the earlier stages for one candidate."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.export_formats import INT8, ONNX
from pipelines.artifacts import json_object, metrics_file, paths, training_record
from pipelines.artifacts.hashing import require_sha256

# Differences between each exported file and the trained model, with size and SHA-256 of the file.
PARITY = "parity.json"


@dataclass(frozen=True)
class CandidateRecord:
    """The training, parity and metrics records of one graph of a candidate.

    `file` is ONNX or INT8. `faster`: the int8 graph has a shorter median latency than ONNX at every batch size;
    always true of ONNX.
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
        return self.candidate if self.file == ONNX else f"{self.candidate}-int8"

    @property
    def framework(self) -> str:
        """The framework that it was trained in."""
        return str(self.training["framework"])

    @property
    def parity_passed(self) -> bool:
        """True where the graph is within its tolerances."""
        return bool(self.parity["files"][self.file]["passed"])

    @property
    def sha256(self) -> str:
        """SHA-256 of the graph whose parity was checked."""
        return str(self.parity["files"][self.file]["sha256"])

    @property
    def metric(self) -> str:
        """The metric of the task: `accuracy`, or `r2` of a regression."""
        return "r2" if "r2" in self.metrics["validation"] else "accuracy"

    def validation_score(self, metric: str) -> float:
        """A metric on the validation split. Raises InputError where it was not measured."""
        try:
            return float(self.metrics["validation"][metric])
        except KeyError as error:
            raise InputError(f"{paths.metrics(self.candidate)}: no validation {metric}; run `dvc repro`") from error

    @property
    def smallest_batch_size(self) -> int:
        """The smallest batch size that latency was measured at."""
        return min(int(name.removeprefix("batch_")) for name in self.metrics["latency"])

    @property
    def smallest_batch(self) -> Mapping[str, float]:
        """Latency at the smallest measured batch size."""
        latency: Mapping[str, float] = self.metrics["latency"][f"batch_{self.smallest_batch_size}"]
        return latency


def read(name: str) -> list[CandidateRecord]:
    """The record of each graph of a candidate. Raises InputError where a file is missing or not JSON."""
    records, metrics = (training(name), parity(name)), dict(metrics_file.read(paths.metrics(name)))
    int8 = metrics.pop("int8", None)
    graphs = [CandidateRecord(name, ONNX, True, *records, metrics)]
    return [*graphs, CandidateRecord(name, INT8, int8["faster"], *records, int8)] if int8 else graphs


def graphs(name: str) -> list[str]:
    """The exported ONNX files, ONNX first. Raises InputError as `read` does."""
    return [file for file in (ONNX, INT8) if file in parity(name)["files"]]


def model(name: str, file: str = ONNX) -> Path:
    """The path of an exported model. Raises InputError where its SHA-256 is not that of the parity record."""
    path = paths.exports(name) / file
    require_sha256(path, parity(name)["files"][file]["sha256"])
    return path


def temperature(name: str) -> float | None:
    """The temperature that the logits of the exported graphs are divided by, None if there is none."""
    fitted = parity(name)["temperature"]
    return None if fitted is None else float(fitted)


def training(name: str) -> Mapping[str, Any]:
    """The training record. Raises InputError as `read` does."""
    return training_record.read(paths.checkpoint(name) / training_record.FILE)


def parity(name: str) -> Mapping[str, Any]:
    """The parity record. Raises InputError as `read` does."""
    return json_object.read(paths.exports(name) / PARITY)
