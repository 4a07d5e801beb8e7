import numpy as np
import pytest
from scipy.stats import permutation_test

from models.metrics import paired_test
from models.metrics.quality import METRICS

RESAMPLING = {"resamples": 2000, "seed": 0}


def correct(wrong, examples=269):
    """Whether each example is classified correctly: all but those of `wrong`."""
    return ~np.isin(np.arange(examples), list(wrong))


@pytest.mark.parametrize(
    ("best", "other", "p"),
    [
        (range(4), range(4), 1.0),
        (range(4), range(6), 0.5),  # two examples decide: 2 / 2^2
        (range(4), range(7), 0.25),
        (range(4), range(10), 2 / 2**6),
        ((), (0,), 1.0),
        ((0, 1), (0, 2, 3, 4, 5), 0.375),  # 4 against 1: 2 (1 + 5) / 2^5
    ],
)
def test_mcnemar_counts_the_examples_that_one_alone_classifies_correctly(best, other, p):
    assert paired_test.p_value(METRICS["accuracy"], correct(best), correct(other), **RESAMPLING) == pytest.approx(p)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "accuracy"])
def test_the_same_outputs_are_never_different(name):
    terms = terms_of(name, np.random.default_rng(0), 0.3)
    assert paired_test.p_value(METRICS[name], terms, terms, **RESAMPLING) == 1.0


@pytest.mark.parametrize("name", [name for name in METRICS if name != "accuracy"])
def test_a_clear_difference_has_a_small_p_value_and_a_random_one_has_not(name):
    best, same, worse = (terms_of(name, np.random.default_rng(seed), noise) for seed, noise in enumerate((0.3, 0.3, 3)))
    assert paired_test.p_value(METRICS[name], best, worse, **RESAMPLING) < 0.005
    assert paired_test.p_value(METRICS[name], best, same, **RESAMPLING) > 0.05


def terms_of(name, random, noise):
    """Terms of one metric for 200 examples, with so much noise in the outputs."""
    if name in ("r2", "mae", "rmse"):
        targets = np.linspace(-1, 1, 200).astype(np.float32)
        return METRICS[name].terms(targets[:, None] + noise * random.normal(size=(200, 1)), targets)
    targets = np.arange(200) % 4
    powers = np.exp(2 * np.eye(4)[targets] + noise * random.normal(size=(200, 4)))
    return METRICS[name].terms(powers / powers.sum(1, keepdims=True), targets)


def test_the_bootstrap_agrees_with_a_permutation_test():
    random = np.random.default_rng(3)
    best, other = sorted((random.exponential(1.0, 300), random.exponential(1.15, 300)), key=np.mean)
    found = paired_test.bootstrap(METRICS["log_loss"], best, other, **RESAMPLING)
    expected = permutation_test(
        (best, other), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", rng=random
    ).pvalue
    assert found == pytest.approx(expected, abs=0.03)


def test_of_equal_candidates_about_one_in_twenty_is_called_different():
    random, different = np.random.default_rng(0), 0
    for _ in range(300):
        best, other = random.normal(size=(2, 100))
        best, other = sorted((best, other), key=np.mean)  # the lower loss is the best one
        different += paired_test.bootstrap(METRICS["log_loss"], best, other, resamples=200, seed=0) <= 0.05
    assert 0.02 < different / 300 < 0.09
