"""Metrics of a regression. `predictions` are float32 [N, 1], `targets` float32 [N]."""

import numpy as np

from pipelines.config.params import Evaluate


def validation_metrics(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The metrics of the validation split, for the selection of the champion."""
    values = _metrics(*_to_float64(predictions, targets))
    return {name: float(value) for name, value in values.items()}


def test_metrics(predictions: np.ndarray, targets: np.ndarray, config: Evaluate) -> dict[str, float]:
    """The metrics of the test split, each with its percentile bootstrap interval.

    Efron and Tibshirani 1993, chapter 13; examples are resampled with their targets.
    """
    predicted, actual = _to_float64(predictions, targets)
    random = np.random.default_rng(config.seed)
    # One resample at a time: together they take the memory of `bootstrap` splits.
    drawn = (random.integers(0, len(actual), len(actual)) for _ in range(config.bootstrap))
    resampled = [_metrics(predicted[rows], actual[rows]) for rows in drawn]
    tail = (1 - config.confidence) / 2
    scores: dict[str, float] = {}
    for name, value in _metrics(predicted, actual).items():
        low, high = np.quantile([sample[name] for sample in resampled], [tail, 1 - tail])
        scores |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
    return scores


def _to_float64(predictions: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return predictions[:, 0].astype(np.float64), np.asarray(targets, np.float64)


def _metrics(predicted: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Coefficient of determination (1 is perfect, 0 as good as the mean; 0 where all targets are equal), mean
    absolute error and root mean squared error, both in the target's unit."""
    errors = predicted - actual
    squares, spread = np.sum(errors**2), np.sum((actual - actual.mean()) ** 2)
    r2 = 1 - squares / spread if spread else 0.0
    return {"r2": r2, "mae": np.mean(np.abs(errors)), "rmse": np.sqrt(squares / len(errors))}
