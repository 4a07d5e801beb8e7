import numpy as np
import pytest
from sklearn import metrics

from models.metrics.quality import METRICS, classes, formatted, macro_precision


@pytest.fixture(scope="module")
def drawn():
    """Probabilities float32 [500, 6] with some skill, and targets int64 [500] of unequal classes."""
    random = np.random.default_rng(1)
    targets = random.choice(6, 500, p=[0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    powers = np.exp(random.normal(size=(500, 6)) + 2 * np.eye(6)[targets])
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32), targets


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.97034, "0.9703"),
        (-0.001, "-0.0010"),
        (0.00012345678, "0.00012346"),
        (-1.5e-5, "-1.5e-05"),
        (123.456, "123.46"),
        (12345.6, "12,346"),
    ],
)
def test_small_and_large_values_have_significant_digits(value, text):
    assert formatted(value) == text


def test_classifications_agree_with_scikit_learn(drawn):
    probabilities, targets = drawn
    predicted, exact = probabilities.argmax(1), probabilities.astype(np.float64)
    exact /= exact.sum(1, keepdims=True)
    expected = {
        "accuracy": metrics.accuracy_score(targets, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(targets, predicted),
        "macro_f1": metrics.f1_score(targets, predicted, average="macro"),
        "log_loss": metrics.log_loss(targets, exact),
    }
    assert {name: METRICS[name](probabilities, targets) for name in expected} == pytest.approx(expected)
    precision = metrics.precision_score(targets, predicted, average="macro")
    assert macro_precision(classes(probabilities, targets)) == pytest.approx(precision)


def test_regressions_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    targets = random.normal(5, 2, 300).astype(np.float32)
    predictions = (targets + random.normal(size=300)).astype(np.float32)[:, None]
    expected = {
        "r2": metrics.r2_score(targets, predictions),
        "mae": metrics.mean_absolute_error(targets, predictions),
        "rmse": metrics.root_mean_squared_error(targets, predictions),
    }
    assert {name: METRICS[name](predictions, targets) for name in expected} == pytest.approx(expected, rel=1e-6)


def test_a_class_that_does_not_occur_lowers_no_mean():
    probabilities = np.eye(4, dtype=np.float32)[[0, 1, 1, 3]]
    targets = np.array([0, 1, 1, 3])
    assert [METRICS[name](probabilities, targets) for name in ("balanced_accuracy", "macro_f1")] == [1, 1]
    assert macro_precision(classes(probabilities, targets)) == 1


def test_a_certain_mistake_has_a_finite_loss():
    assert METRICS["log_loss"](np.eye(2, dtype=np.float32), np.array([1, 1])) == pytest.approx(18.02, abs=0.01)
