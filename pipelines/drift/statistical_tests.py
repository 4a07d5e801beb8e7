"""Whether two samples come from one distribution: SciPy's tests, and how far apart the samples are.

With many rows the smallest difference is significant, so a difference must be large as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipelines.config.params import Correction, Drift

FEWEST = 10  # rows of a label, in both samples together; rarer ones count as one label (Cochran 1954)


@dataclass(frozen=True)
class Column:
    """One quantity in the `reference` [n] and in the `current` [m] sample: numbers, or indices into `labels`."""

    name: str
    reference: np.ndarray
    current: np.ndarray
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a test says of a column: `distance` from 0 (alike) to 1 (apart), and the corrected p-value."""

    name: str
    test: str
    distance: float
    p_value: float
    drifted: bool


def compare(columns: Sequence[Column], settings: Drift) -> list[Finding]:
    """A finding for each column, in their order."""
    tested = [_categories(column) if column.labels else _numbers(column) for column in columns]
    p_values = correct(np.array([p_value for _, _, p_value in tested]), settings.correction)
    return [
        Finding(column.name, name, distance, p_value, _is_drift(distance, p_value, settings))
        for column, (name, distance, _), p_value in zip(columns, tested, p_values.tolist(), strict=True)
    ]


def correct(p_values: np.ndarray, correction: Correction) -> np.ndarray:
    """p-values [n] corrected for the number of tests (Bonferroni 1936; Benjamini and Hochberg 1995)."""
    if correction == "bonferroni":
        return np.asarray(np.minimum(1, p_values * len(p_values)))
    if correction == "benjamini_hochberg":
        adjusted: np.ndarray = stats.false_discovery_control(p_values, method="bh")
        return adjusted
    return p_values


def _is_drift(distance: float, p_value: float, settings: Drift) -> bool:
    return p_value < settings.significance and distance >= settings.distance


def _numbers(column: Column) -> tuple[str, float, float]:
    """Kolmogorov and Smirnov: the largest difference between the cumulative distributions, and its p-value."""
    if not len(column.reference) or not len(column.current):  # all missing: there is nothing to compare
        return "Kolmogorov-Smirnov", 0.0, 1.0
    found = stats.ks_2samp(column.reference, column.current, method="asymp")
    return "Kolmogorov-Smirnov", float(found.statistic), float(found.pvalue)


def _categories(column: Column) -> tuple[str, float, float]:
    """Chi-squared; the distance is the total variation, half the sum of the differences of the shares."""
    counts = _pooled(np.array([np.bincount(each, minlength=len(column.labels)) for each in _samples(column)]))
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    p_value = float(stats.chi2_contingency(counts).pvalue) if counts.shape[1] > 1 else 1.0
    return "chi-squared", distance, p_value


def _samples(column: Column) -> tuple[np.ndarray, np.ndarray]:
    return column.reference, column.current


def _pooled(counts: np.ndarray) -> np.ndarray:
    """Counts [2, labels] with all rare labels as one, and none that is empty in both."""
    rare = counts.sum(axis=0) < FEWEST
    together = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    return np.asarray(together[:, together.sum(axis=0) > 0])
