"""How good predicted numbers are, as single numbers. `predictions` float32 [N, 1], `targets` float32 [N]."""

import numpy as np

from pipelines.config.params import Evaluate


def selection(predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """What the validation split is asked for: the choice of the champion needs no more."""
    values = _measures(*_exact(predictions, targets))
    return {name: float(value) for name, value in values.items()}


def full(predictions: np.ndarray, targets: np.ndarray, settings: Evaluate) -> dict[str, float]:
    """What the test split is asked for: each measure with its percentile bootstrap interval.

    Efron and Tibshirani 1993, chapter 13; examples are drawn with their targets.
    """
    found, actual = _exact(predictions, targets)
    random = np.random.default_rng(settings.seed)
    # One resample after the other: all at once they are as many times the split as there are resamples.
    drawn = (random.integers(0, len(actual), len(actual)) for _ in range(settings.bootstrap))
    resampled = [_measures(found[rows], actual[rows]) for rows in drawn]
    tail = (1 - settings.confidence) / 2
    scores: dict[str, float] = {}
    for name, value in _measures(found, actual).items():
        low, high = np.quantile([sample[name] for sample in resampled], [tail, 1 - tail])
        scores |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
    return scores


def _exact(predictions: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return predictions[:, 0].astype(np.float64), np.asarray(targets, np.float64)


def _measures(found: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """The share of the variance that is explained (1 is perfect, 0 is no better than the mean, below is worse),
    the mean absolute error and the root of the mean squared one, in the target's unit. R2 is 0 of equal targets."""
    errors = found - actual
    squares, spread = np.sum(errors**2), np.sum((actual - actual.mean()) ** 2)
    r2 = 1 - squares / spread if spread else 0.0
    return {"r2": r2, "mae": np.mean(np.abs(errors)), "rmse": np.sqrt(squares / len(errors))}
