"""Predictions of an exported graph on a split."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.onnx import inference
from models.onnx.session import Session
from models.spec import DataSpec
from pipelines.artifacts import paths, split_files


@dataclass(frozen=True)
class Predictions:
    """Raw `inputs` [N, ...] (memory-mapped), `targets` [N] and `outputs` float32: probabilities [N, K], or [N, 1]."""

    spec: DataSpec
    inputs: np.ndarray
    targets: np.ndarray
    outputs: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """The outputs of a classifier, float32 [N, K]."""
        return self.outputs

    @property
    def values(self) -> np.ndarray:
        """The outputs of a regression, float32 [N]."""
        return np.asarray(self.outputs[:, 0])

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class, int64 [N]."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class, float64 [N]."""
        return np.asarray(self.probabilities.max(axis=1), np.float64)


def predict(session: Session, spec: DataSpec, split: str) -> Predictions:
    """Run the graph on every example of a split (`validation`, `test`)."""
    inputs, targets = split_files.read(paths.split(split))
    return Predictions(spec, inputs, np.array(targets), inference.predict(session, inputs))
