"""Tests whether two models differ on the same examples."""

import numpy as np
from scipy.stats import binomtest

from models.metrics import quality
from models.metrics.quality import Metric


def p_value(metric: Metric, best: np.ndarray, other: np.ndarray, resamples: int, seed: int) -> float:
    """Two-sided p-value of the difference of two models in a metric, from its terms [N, ...] for each of them."""
    if metric is quality.METRICS["accuracy"]:
        return mcnemar(best, other)
    return bootstrap(metric, best, other, resamples, seed)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact McNemar test of two classifiers, from whether each example is classified correctly, bool [N].

    Only examples that one of them alone classifies correctly count: McNemar 1947, "Note on the sampling error of the
    difference between correlated proportions or percentages"; exact by the binomial distribution.
    """
    ahead, behind = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    return float(binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0


def bootstrap(metric: Metric, best: np.ndarray, other: np.ndarray, resamples: int, seed: int) -> float:
    """Paired bootstrap: twice the share of resamples of the examples in which `other` is at least as good as `best`.

    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 15.4: the achieved significance level by the
    percentile interval of the difference.
    """
    random = np.random.default_rng(seed)
    reversed_ = 0
    for _ in range(resamples):
        rows = random.integers(0, len(best), len(best))
        reversed_ += metric.advantage(metric.summarise(best[rows]), metric.summarise(other[rows])) <= 0
    return min(1.0, 2 * (reversed_ + 1) / (resamples + 1))
