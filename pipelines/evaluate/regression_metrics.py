"""Metrics of a regression. `predictions` are float32 [N, 1], `targets` float32 [N]."""

import numpy as np

from models.metrics import quality
from pipelines.config.params import Evaluate


def validation_metrics(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The metrics of the validation split, for the selection of the champion."""
    return _metrics(quality.values(predictions, targets))


def test_metrics(predictions: np.ndarray, targets: np.ndarray, config: Evaluate) -> dict[str, float]:
    """The metrics of the test split, each with its percentile bootstrap interval.

    Efron and Tibshirani 1993, chapter 13; examples are resampled with their targets.
    """
    pairs = quality.values(predictions, targets)
    random = np.random.default_rng(config.seed)
    # One resample at a time: together they take the memory of `bootstrap` splits.
    resampled = [_metrics(pairs[random.integers(0, len(pairs), len(pairs))]) for _ in range(config.bootstrap)]
    tail = (1 - config.confidence) / 2
    scores: dict[str, float] = {}
    for name, value in _metrics(pairs).items():
        low, high = np.quantile([sample[name] for sample in resampled], [tail, 1 - tail])
        scores |= {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}
    return scores


def _metrics(pairs: np.ndarray) -> dict[str, float]:
    """All metrics of targets and predictions, float64 [N, 2]."""
    return {name: metric.summarise(pairs) for name, metric in quality.REGRESSION.items()}
