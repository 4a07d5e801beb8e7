"""Metrics of a classification. `probabilities` are float32 [N, K], `targets` int64 [N]."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import log_loss, precision_recall_fscore_support

from pipelines.config.params import Evaluate
from pipelines.evaluate import calibration, roc_curves


def validation_metrics(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The metrics of the validation split, for the selection of the champion."""
    return {
        "accuracy": accuracy(probabilities, targets),
        "log_loss": negative_log_likelihood(probabilities, targets),
    }


def test_metrics(probabilities: np.ndarray, targets: np.ndarray, config: Evaluate) -> dict[str, float]:
    """The metrics of the test split."""
    correct = int(np.sum(probabilities.argmax(axis=1) == targets))
    low, high = accuracy_interval(correct, len(targets), config.confidence)
    precision, recall, f1 = macro(probabilities, targets)
    bins = calibration.group(probabilities, targets, config.calibration_bins)
    return {
        "accuracy": accuracy(probabilities, targets),
        "accuracy_low": low,
        "accuracy_high": high,
        f"top_{config.top_k}_accuracy": top_k_accuracy(probabilities, targets, config.top_k),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "roc_auc": roc_curves.macro_roc(probabilities, targets).area,
        "log_loss": negative_log_likelihood(probabilities, targets),
        "brier": brier(probabilities, targets),
        "calibration_error": calibration.expected_calibration_error(bins),
    }


def accuracy(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Share of examples whose most probable class is the true one."""
    return float(np.mean(probabilities.argmax(axis=1) == targets))


def accuracy_interval(correct: int, count: int, confidence: float) -> tuple[float, float]:
    """Wilson score interval of an accuracy of `correct` out of `count` examples (Wilson 1927).

    Its coverage is close to `confidence` also for few examples and for accuracies near 0 or 1
    (Brown, Cai and DasGupta 2001, "Interval Estimation for a Binomial Proportion").
    """
    interval = binomtest(correct, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def top_k_accuracy(probabilities: np.ndarray, targets: np.ndarray, k: int) -> float:
    """Share of examples whose true class is among the `k` most probable; 1 where there are no more than `k`."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float(np.mean((best == targets[:, None]).any(axis=1)))


def macro(probabilities: np.ndarray, targets: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and F1, each the plain mean over all classes."""
    precision, recall, f1, _ = per_class(probabilities, targets)
    return float(precision.mean()), float(recall.mean()), float(f1.mean())


def per_class(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, F1 (0 where a class was never predicted) and number of examples, each [K]."""
    classes = np.arange(probabilities.shape[1])
    scores = precision_recall_fscore_support(targets, probabilities.argmax(axis=1), labels=classes, zero_division=0)
    precision, recall, f1, support = (np.asarray(score) for score in scores)
    return precision, recall, f1, support


def negative_log_likelihood(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean negative logarithm of the true class's probability, in nats."""
    # The sum of a float32 row differs from 1 by more than scikit-learn tolerates for float64.
    normalised = probabilities.astype(np.float64)
    normalised /= normalised.sum(axis=1, keepdims=True)
    return float(log_loss(targets, normalised, labels=np.arange(normalised.shape[1])))


def brier(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared distance to the true class's one-hot vector, 0 to 2 (Brier 1950, equation 2)."""
    truth = np.eye(probabilities.shape[1])[targets]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))
