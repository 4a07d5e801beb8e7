from dataclasses import replace

import numpy as np

from models.metrics.outputs import from_logits
from tests.pipelines import synthetic


def test_predictions_of_a_regression_are_in_the_unit_of_its_target():
    spec = replace(synthetic.SPEC, task="regression", labels=(), target_mean=100.0, target_std=20.0)
    outputs = from_logits(np.array([[0.0], [1.5]], np.float32), spec)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, [[100], [130]])


def test_probabilities_of_large_logits_are_finite_and_sum_to_one():
    outputs = from_logits(np.array([[1e4, 0.0], [2.0, 2.0]], np.float32), synthetic.SPEC, 2.0)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, [[1, 0], [0.5, 0.5]])
