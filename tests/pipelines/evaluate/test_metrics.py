import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import brier_score_loss, roc_auc_score, top_k_accuracy_score

from pipelines.config import params
from pipelines.evaluate import calibration, classification_metrics, regression_metrics, roc_curves
from tests.pipelines.workspace import REPOSITORY

SURE = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)


@pytest.fixture(scope="module")
def settings():
    return params.read(REPOSITORY / "params.yaml").evaluate


@pytest.fixture(scope="module")
def drawn():
    """Probabilities float32 [500, 6] with some skill, and targets int64 [500]."""
    random = np.random.default_rng(1)
    targets = random.integers(0, 6, 500)
    logits = random.normal(size=(500, 6)) + 2 * np.eye(6)[targets]
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32), targets


def test_perfect_predictions_have_perfect_scores(settings):
    scores = classification_metrics.test_metrics(SURE, np.array([0, 1, 2, 0]), settings)
    errors = {"log_loss", "brier", "calibration_error", "calibration_error_by_chance"}
    low = scores.pop("accuracy_low")  # of four examples: 4 / (4 + z²)
    assert all(abs(scores[name]) < 1e-9 for name in errors)
    assert {value for name, value in scores.items() if name not in errors} == {1.0}
    assert low == pytest.approx(0.5101, abs=1e-4)


def test_scores_agree_with_scikit_learn(drawn, settings):
    probabilities, targets = drawn
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    scores = classification_metrics.test_metrics(probabilities, targets, settings)
    assert scores["top_3_accuracy"] == pytest.approx(top_k_accuracy_score(targets, exact, k=3))
    assert scores["brier"] == pytest.approx(brier_score_loss(targets, exact, scale_by_half=False), abs=1e-6)
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(targets, exact, multi_class="ovr"), abs=1e-6)


def test_a_class_that_the_split_lacks_does_not_break_the_scores(settings):
    scores = classification_metrics.test_metrics(
        np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], np.float32), np.array([0, 1]), settings
    )
    assert scores["accuracy"] == 1
    assert np.isfinite(list(scores.values())).all()


def test_top_k_counts_everything_where_there_are_not_more_classes(drawn):
    probabilities, targets = drawn
    assert classification_metrics.top_k_accuracy(probabilities, targets, 6) == 1
    assert classification_metrics.top_k_accuracy(probabilities, targets, 60) == 1
    assert classification_metrics.top_k_accuracy(probabilities, targets, 1) == np.mean(
        probabilities.argmax(1) == targets
    )


def test_the_interval_contains_the_accuracy_and_is_wider_for_more_confidence(drawn, settings):
    scores = classification_metrics.test_metrics(*drawn, settings)
    wide = classification_metrics.test_metrics(*drawn, settings.model_copy(update={"confidence": 0.999}))
    assert wide["accuracy_low"] < scores["accuracy_low"] < scores["accuracy"] < scores["accuracy_high"]
    assert scores["accuracy_high"] < wide["accuracy_high"]


def coverage(low, high):
    """How often intervals [outcomes] contain the true accuracy: for 100 of these from 0.5 to 0.995, [100]."""
    outcomes = np.arange(len(low))
    return np.array(
        [
            binom.pmf(outcomes, len(low) - 1, true)[(low <= true) & (true <= high)].sum()
            for true in np.linspace(0.5, 0.995, 100)
        ]
    )


@pytest.mark.parametrize("count", [21, 54, 90, 269])
def test_the_interval_covers_the_true_accuracy_as_often_as_it_says(count):
    """Over all outcomes, weighted by their probability, against the percentiles of a bootstrap."""
    outcomes = np.arange(count + 1)
    intervals = [classification_metrics.accuracy_interval(int(correct), count, 0.95) for correct in outcomes]
    wilson = coverage(*np.transpose(intervals))
    assert wilson.min() > 0.89
    assert 0.945 < wilson.mean() < 0.955
    percentiles = coverage(*(binom.ppf(tail, count, outcomes / count) / count for tail in (0.025, 0.975)))
    cells = [count, *(f"{value:.3f}" for each in (wilson, percentiles) for value in (each.mean(), each.min()))]
    assert f"| {' | '.join(map(str, cells))} |" in (REPOSITORY / "docs" / "experiments.md").read_text("utf-8")


def test_a_perfect_score_has_an_interval_below_it():
    low, high = classification_metrics.accuracy_interval(21, 21, 0.95)
    assert (low, high) == pytest.approx((0.8454, 1.0), abs=1e-4)  # n / (n + z^2)


def test_calibration_error_by_hand():
    # Two predictions at 0.8, one of them right: |0.5 - 0.8| = 0.3. Two at 0.6, both right: |1 - 0.6| = 0.4.
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]])
    bins = calibration.group(probabilities, np.array([0, 1, 0, 0]), 10)
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.35)
    assert bins.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 2, 0]
    assert np.isnan(bins.accuracy[0])


def test_full_confidence_belongs_to_the_last_bin():
    bins = calibration.group(SURE, np.array([0, 1, 2, 0]), 15)
    assert bins.count[-1] == 4


def test_curves_run_from_corner_to_corner_and_leave_out_absent_classes(drawn):
    probabilities, targets = drawn
    present = targets != 3
    scores = roc_curves.class_rocs(probabilities[present], targets[present], "abcdef")
    assert list(scores) == list("abcef")
    for roc in (*scores.values(), roc_curves.macro_roc(probabilities, targets)):
        assert (roc.false_positive_rate[0], roc.true_positive_rate[0]) == (0, 0)
        assert (roc.false_positive_rate[-1], roc.true_positive_rate[-1]) == (1, 1)
        assert (np.diff(roc.false_positive_rate) >= 0).all()
        assert 0.5 < roc.area < 1


def test_intervals_of_a_regression_take_the_memory_of_a_few_splits_not_of_one_for_each_resample(settings):
    targets = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    tracemalloc.start()
    scores = regression_metrics.test_metrics(
        targets[:, None] + 0.5, targets, settings.model_copy(update={"bootstrap": 100})
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scores["mae"] == pytest.approx(0.5, abs=1e-6)
    assert peak < 30 * 8 * len(targets)


def test_probabilities_without_the_temperature_are_those_of_the_logits_themselves():
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 3
    plain, scaled = (np.exp(values) / np.exp(values).sum(1, keepdims=True) for values in (logits, logits / 0.4))
    np.testing.assert_allclose(calibration.without_temperature(scaled, 0.4), plain, atol=1e-12)


def test_a_perfectly_calibrated_classifier_has_the_error_by_chance():
    random, found = np.random.default_rng(0), []
    probabilities = random.dirichlet(np.full(4, 0.5), 300)
    for _ in range(200):
        targets = (random.uniform(size=(300, 1)) > probabilities.cumsum(1)).sum(1)
        found.append(calibration.expected_calibration_error(calibration.group(probabilities, targets, 15)))
    chance = calibration.error_by_chance(probabilities, 15, 200, seed=1)
    assert chance == pytest.approx(np.mean(found), rel=0.1)
    assert chance > 0.02
