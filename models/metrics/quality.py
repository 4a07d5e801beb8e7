"""Metrics of predictions by the name that `promote.metric` selects them with.

Outputs are float32: probabilities [N, K] with targets int64 [N], or predictions [N, 1] with targets float32 [N].
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MIN_PROBABILITY = np.finfo(np.float64).eps  # as in scikit-learn's `log_loss`: the logarithm of 0 is infinite


@dataclass(frozen=True)
class Metric:
    """A metric in two steps, so that it can be computed again for any resample of the examples.

    `terms` gives what the metric depends on, [N, ...], from outputs and targets; `summarise` the metric from terms.
    """

    terms: Callable[[np.ndarray, np.ndarray], np.ndarray]
    summarise: Callable[[np.ndarray], float]
    higher_is_better: bool = True

    def __call__(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """The metric of all examples."""
        return float(self.summarise(self.terms(outputs, targets)))

    def advantage(self, value: float, over: float) -> float:
        """How much better `value` is than `over`; negative where it is worse."""
        return value - over if self.higher_is_better else over - value


def formatted(value: float) -> str:
    """A metric as text: four decimals, or five significant digits of a value that is smaller or larger."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 100 else f"{value:,.5g}"


def is_correct(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """True of each example whose most probable class is the true one, bool [N]."""
    return np.asarray(probabilities.argmax(axis=1) == targets)


def classes(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The true and the most probable class of each example, int64 [N, 2]."""
    return np.stack([targets, probabilities.argmax(axis=1)], axis=1)


def balanced_accuracy(pairs: np.ndarray) -> float:
    """Mean recall of the classes that occur in the targets; `pairs` as `classes` gives them."""
    hits, actual, _ = _counts(pairs)
    return float(np.mean(hits[actual > 0] / actual[actual > 0]))


def macro_precision(pairs: np.ndarray) -> float:
    """Mean precision of the classes that occur in targets or predictions; 0 for one that was never predicted."""
    hits, actual, predicted = _counts(pairs)
    return float(np.mean((hits / np.maximum(predicted, 1))[(actual + predicted) > 0]))


def macro_f1(pairs: np.ndarray) -> float:
    """Mean F1 of the classes that occur in targets or predictions."""
    hits, actual, predicted = _counts(pairs)
    occurring = actual + predicted > 0
    return float(np.mean(2 * hits[occurring] / (actual + predicted)[occurring]))


def negative_log_likelihoods(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Negative logarithm of the true class's probability in nats, float64 [N]."""
    rows = probabilities.astype(np.float64)  # the sum of a float32 row is not exactly 1
    true = rows[np.arange(len(rows)), targets] / rows.sum(axis=1)
    return np.asarray(-np.log(np.maximum(true, MIN_PROBABILITY)))


def values(predictions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The target and the prediction of each example, float64 [N, 2]."""
    return np.stack([targets, predictions[:, 0]], axis=1).astype(np.float64)


def r2(pairs: np.ndarray) -> float:
    """Coefficient of determination: 1 is perfect, 0 as good as the mean; 0 where all targets are equal."""
    actual, predicted = pairs.T
    spread = np.sum((actual - actual.mean()) ** 2)
    return float(1 - np.sum((predicted - actual) ** 2) / spread) if spread else 0.0


def mae(pairs: np.ndarray) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.mean(np.abs(pairs[:, 1] - pairs[:, 0])))


def rmse(pairs: np.ndarray) -> float:
    """Root mean squared error, in the target's unit."""
    return float(np.sqrt(np.mean((pairs[:, 1] - pairs[:, 0]) ** 2)))


def _counts(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each class the number of hits, of examples and of predictions."""
    actual, predicted = pairs.T
    length = int(pairs.max()) + 1
    columns = (actual[actual == predicted], actual, predicted)
    hits, examples, predictions = (np.bincount(column, minlength=length) for column in columns)
    return hits, examples, predictions


CLASSIFICATION = {
    "accuracy": Metric(is_correct, np.mean),
    "balanced_accuracy": Metric(classes, balanced_accuracy),
    "macro_f1": Metric(classes, macro_f1),
    "log_loss": Metric(negative_log_likelihoods, np.mean, higher_is_better=False),
}
REGRESSION = {
    "r2": Metric(values, r2),
    "mae": Metric(values, mae, higher_is_better=False),
    "rmse": Metric(values, rmse, higher_is_better=False),
}
METRICS = CLASSIFICATION | REGRESSION
