"""Calibration: agreement of confidence and accuracy."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bins:
    """Predictions grouped by their confidence into equally wide bins; arrays of length [bins].

    `lower` is each bin's lower edge. `confidence` (mean) and `accuracy` are NaN in an empty bin.
    """

    lower: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def group(probabilities: np.ndarray, targets: np.ndarray, bins: int) -> Bins:
    """Group the top predictions of `probabilities` [N, K] against `targets` int64 [N] into so many `bins`."""
    return _group(probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == targets, bins)


def _group(confidence: np.ndarray, correct: np.ndarray, bins: int) -> Bins:
    # A confidence of 1 belongs to the last bin.
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, confidence, bins) / count
        accuracy = np.bincount(index, correct, bins) / count
    return Bins(np.arange(bins) / bins, mean, accuracy, count)


def expected_calibration_error(bins: Bins) -> float:
    """The mean absolute difference of accuracy and confidence over all predictions.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    gap = np.abs(bins.accuracy - bins.confidence)
    return float(np.nansum(gap * bins.count) / bins.count.sum())


def error_by_chance(probabilities: np.ndarray, bins: int, resamples: int, seed: int) -> float:
    """The mean calibration error of a perfectly calibrated classifier with these `probabilities` [N, K].

    It is not 0, as bins of few examples differ from their confidence by chance. Bröcker and Smith 2007, "Increasing the
    Reliability of Reliability Diagrams": predictions are drawn to be correct as often as their confidence says.
    """
    random, confidence = np.random.default_rng(seed), probabilities.max(axis=1).astype(np.float64)
    drawn = (random.uniform(size=len(confidence)) < confidence for _ in range(resamples))
    return float(np.mean([expected_calibration_error(_group(confidence, correct, bins)) for correct in drawn]))


def without_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities [N, K] of a classifier whose logits were not divided by `temperature`."""
    powers = probabilities.astype(np.float64) ** temperature
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
