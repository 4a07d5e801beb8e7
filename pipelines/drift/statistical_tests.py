"""Two-sample tests of SciPy, and distances between the samples.

With many rows even a small difference is significant, so drift requires a minimum distance too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipelines.config.params import Correction, Drift

MIN_LABEL_ROWS = 10  # in both samples together; rarer labels are pooled (Cochran 1954)


@dataclass(frozen=True)
class ColumnSamples:
    """One column in the `reference` [n] and in the `current` [m] sample: numbers, or indices into `labels`."""

    name: str
    reference: np.ndarray
    current: np.ndarray
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnDrift:
    """The result of the test of a column: `distance` from 0 (equal) to 1 (disjoint), and the corrected p-value."""

    name: str
    test: str
    distance: float
    p_value: float
    drifted: bool


def compare(columns: Sequence[ColumnSamples], config: Drift) -> list[ColumnDrift]:
    """A result for each column, in their order."""
    tested = [_categories(column) if column.labels else _numbers(column) for column in columns]
    p_values = correct(np.array([p_value for _, _, p_value in tested]), config.correction)
    return [
        ColumnDrift(column.name, name, distance, p_value, _is_drift(distance, p_value, config))
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


def _is_drift(distance: float, p_value: float, config: Drift) -> bool:
    return p_value < config.significance and distance >= config.distance


def _numbers(column: ColumnSamples) -> tuple[str, float, float]:
    """Kolmogorov-Smirnov test; the distance is the largest difference of the cumulative distributions."""
    if not len(column.reference) or not len(column.current):  # all missing
        return "Kolmogorov-Smirnov", 0.0, 1.0
    result = stats.ks_2samp(column.reference, column.current, method="asymp")
    return "Kolmogorov-Smirnov", float(result.statistic), float(result.pvalue)


def _categories(column: ColumnSamples) -> tuple[str, float, float]:
    """Chi-squared test; the distance is the total variation: half the sum of absolute differences of the shares."""
    samples = (column.reference, column.current)
    counts = _pooled(np.array([np.bincount(sample, minlength=len(column.labels)) for sample in samples]))
    shares = counts / counts.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    p_value = float(stats.chi2_contingency(counts).pvalue) if counts.shape[1] > 1 else 1.0
    return "chi-squared", distance, p_value


def _pooled(counts: np.ndarray) -> np.ndarray:
    """Counts [2, labels] with all rare labels pooled, without labels that are empty in both samples."""
    rare = counts.sum(axis=0) < MIN_LABEL_ROWS
    pooled = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    return np.asarray(pooled[:, pooled.sum(axis=0) > 0])
