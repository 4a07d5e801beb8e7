"""Drift is a difference that is significant and large."""

import numpy as np
import pytest

from pipelines.config.params import Drift
from pipelines.drift import statistical_tests
from pipelines.drift.statistical_tests import ColumnSamples

SETTINGS = Drift(significance=0.01, distance=0.1, correction="bonferroni", minimum_rows=100, rows=1000)
LABELS = ("a", "b", "c")


def compare(*columns, **changes):
    return statistical_tests.compare(columns, SETTINGS.model_copy(update=changes))


def normal(shift, size, seed):
    return np.random.default_rng(seed).normal(shift, 1, size)


def test_a_shift_is_drift_and_its_distance_is_that_of_the_cumulative_distributions():
    [moved] = compare(ColumnSamples("x", np.arange(100), np.arange(100) + 50))
    assert moved.drifted
    assert moved.distance == pytest.approx(0.5)


def test_equal_and_constant_samples_are_none():
    constant, same = np.zeros(500), normal(0, 500, 1)
    assert [
        each.distance for each in compare(ColumnSamples("x", constant, constant), ColumnSamples("y", same, same))
    ] == [0, 0]


def test_a_small_difference_is_none_however_many_rows_show_it():
    [small] = compare(ColumnSamples("x", normal(0, 200_000, 1), normal(0.05, 200_000, 2)))
    assert small.p_value < 1e-6
    assert not small.drifted


def test_a_large_difference_in_few_rows_is_none():
    [few] = compare(ColumnSamples("x", normal(0, 8, 1), normal(0.5, 8, 2)))
    assert few.distance > 0.1
    assert not few.drifted


def test_labels_are_compared_by_their_shares():
    reference, current = np.repeat([0, 1, 2], 100), np.repeat([0, 1, 2], [200, 100, 0])
    [moved] = compare(ColumnSamples("label", reference, current, LABELS))
    assert (moved.test, moved.distance, moved.drifted) == ("chi-squared", pytest.approx(1 / 3), True)


def test_rare_labels_are_pooled_and_a_single_one_is_no_difference():
    reference, current = np.repeat([0, 1], [500, 4]), np.repeat([0, 2], [500, 4])
    pooled, single = compare(
        ColumnSamples("label", reference, current, LABELS),
        ColumnSamples("label", np.zeros(50, int), np.zeros(60, int), LABELS),
    )
    assert pooled.distance == 0
    assert (single.p_value, single.drifted) == (1, False)


def test_corrections():
    p_values = np.array([0.01, 0.02, 0.9])
    assert statistical_tests.correct(p_values, "bonferroni").tolist() == pytest.approx([0.03, 0.06, 1])
    assert statistical_tests.correct(p_values, "benjamini_hochberg").tolist() == pytest.approx([0.03, 0.03, 0.9])
    assert statistical_tests.correct(p_values, "none").tolist() == [0.01, 0.02, 0.9]


def test_same_distributions_are_told_apart_in_few_of_many_trials():
    """At significance 0.01 about one trial in a hundred; ten columns a trial, corrected."""
    trials = [
        compare(
            *(ColumnSamples(str(i), normal(0, 300, (t, i)), normal(0, 300, (t, i, 1))) for i in range(10)), distance=0.0
        )
        for t in range(100)
    ]
    assert sum(any(each.drifted for each in trial) for trial in trials) <= 5
