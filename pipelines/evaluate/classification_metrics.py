"""Metrics of a classification. `probabilities` are float32 [N, K], `targets` int64 [N]."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from models.metrics import quality
from pipelines.config.params import Evaluate
from pipelines.evaluate import calibration, roc_curves


def validation_metrics(probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The metrics of the validation split, for the selection of the champion."""
    return {name: metric(probabilities, targets) for name, metric in quality.CLASSIFICATION.items()}


def test_metrics(probabilities: np.ndarray, targets: np.ndarray, config: Evaluate) -> dict[str, float]:
    """The metrics of the test split."""
    correct = int(quality.is_correct(probabilities, targets).sum())
    low, high = accuracy_interval(correct, len(targets), config.confidence)
    bins = calibration.group(probabilities, targets, config.calibration_bins)
    scores = validation_metrics(probabilities, targets)
    return {
        "accuracy": scores.pop("accuracy"),
        "accuracy_low": low,
        "accuracy_high": high,
        f"top_{config.top_k}_accuracy": top_k_accuracy(probabilities, targets, config.top_k),
        **scores,
        "macro_precision": quality.macro_precision(quality.classes(probabilities, targets)),
        "roc_auc": roc_curves.macro_roc(probabilities, targets).area,
        "brier": brier(probabilities, targets),
        "calibration_error": calibration.expected_calibration_error(bins),
        "calibration_error_by_chance": calibration.error_by_chance(
            probabilities, config.calibration_bins, config.bootstrap, config.seed
        ),
    }


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


def per_class(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, F1 (0 where a class was never predicted) and number of examples, each [K]."""
    classes = np.arange(probabilities.shape[1])
    scores = precision_recall_fscore_support(targets, probabilities.argmax(axis=1), labels=classes, zero_division=0)
    precision, recall, f1, support = (np.asarray(score) for score in scores)
    return precision, recall, f1, support


def brier(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared distance to the true class's one-hot vector, 0 to 2 (Brier 1950, equation 2)."""
    truth = np.eye(probabilities.shape[1])[targets]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))
