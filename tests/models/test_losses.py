"""Each loss against its closed form in NumPy, and against its twin."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from models.config import LOSSES, Train
from models.errors import InputError
from models.spec import DataSpec
from models.training.batches import Split
from models.training.class_weights import class_weights
from tests.models.conftest import FRAMEWORKS, framework_module
from tests.models.equality import require_equal

GAMMA, DELTA = 1.5, 0.7


def hinge(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    rows, right = np.arange(len(z)), t.argmax(1)
    others = z.copy()
    others[rows, right] = -np.inf
    return np.maximum(0, 1 + others.max(1) - z[rows, right])


def huber(y: np.ndarray, t: np.ndarray) -> np.ndarray:
    error = np.abs(y - t)
    return np.where(error <= DELTA, error**2 / 2, DELTA * (error - DELTA / 2))


CLOSED_FORMS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cross_entropy": lambda z, t: -(t * log_softmax(z, 1)).sum(1),
    "binary_cross_entropy": lambda z, t: np.logaddexp(0, z[:, 1] - z[:, 0]) - t[:, 1] * (z[:, 1] - z[:, 0]),
    "kl_divergence": lambda z, t: rel_entr(t, softmax(z, 1)).sum(1),
    "hinge": hinge,
    "focal": lambda z, t: -(t * (1 - softmax(z, 1)) ** GAMMA * log_softmax(z, 1)).sum(1),
    "mse": lambda y, t: (y - t) ** 2,
    "l1": lambda y, t: np.abs(y - t),
    "huber": huber,
}


def values_and_gradient(framework: str, outputs: np.ndarray, targets: np.ndarray, config: Train, weights: np.ndarray):
    loss = framework_module(framework, "losses").loss
    if framework == "torch":
        import torch

        tensor = torch.from_numpy(outputs).requires_grad_()
        value = loss(tensor, torch.from_numpy(targets), config, torch.from_numpy(weights))
        value.backward()
        return value.item(), tensor.grad.numpy()
    import tensorflow as tf

    tensor = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss(tensor, tf.constant(targets), config, tf.constant(weights))
    return float(value), tape.gradient(value, tensor).numpy()


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets of 50 examples; logits of any size up to 30."""
    random = np.random.default_rng(0)
    if LOSSES[name] == "regression":
        return np.float32(random.normal(size=(50, 1))), np.float32(random.normal(size=50))
    classes = 2 if name == "binary_cross_entropy" else 5
    logits = random.normal(size=(50, classes)) * random.choice([0.1, 1, 10], (50, 1))
    return np.float32(logits), random.integers(0, classes, 50)


def options(train_config: Train, **changes: Any) -> Train:
    return train_config.model_copy(
        update={"focal_gamma": GAMMA, "huber_delta": DELTA, "label_smoothing": 0.0} | changes
    )


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_its_closed_form_in_both_frameworks(name: str, train_config: Train) -> None:
    outputs, targets = batch(name)
    is_regression, classes = LOSSES[name] == "regression", outputs.shape[1]
    wide = (outputs[:, 0], targets) if is_regression else (outputs, np.eye(classes, dtype=np.float32)[targets])
    expected = CLOSED_FORMS[name](*(array.astype(np.float64) for array in wide)).mean()
    config, ones = options(train_config, loss=name), np.ones(classes, np.float32)
    found = [values_and_gradient(framework, outputs, targets, config, ones) for framework in FRAMEWORKS]
    for value, _ in found:
        require_equal("losses", value, expected, expected)
    largest = np.abs(found[0][1]).max()
    assert largest > 0
    require_equal("gradients of losses", found[1][1], found[0][1], largest)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_do_not_wait_for_the_device(name: str, train_config: Train) -> None:
    """Tensors without data: to read a value of them, as a GPU would have to be waited for, is an error."""
    import torch

    outputs, targets = (torch.from_numpy(array).to("meta") for array in batch(name))
    losses, weights = framework_module("torch", "losses"), torch.ones(outputs.shape[1], device="meta")
    value = losses.loss(outputs.requires_grad_(), targets, options(train_config, loss=name), weights)
    value.backward()
    assert outputs.grad.shape == outputs.shape
    assert losses.total_weight(targets, weights).is_meta


@pytest.mark.parametrize("name", [name for name, task in LOSSES.items() if task == "classification"])
def test_soft_targets_smoothing_and_weights_are_the_same_in_both_frameworks(name: str, train_config: Train) -> None:
    logits, _ = batch(name)
    random, classes = np.random.default_rng(1), logits.shape[1]
    targets = np.float32(random.dirichlet(np.ones(classes), len(logits)))
    weights = np.float32(random.uniform(0.5, 2, classes))
    smoothed = targets * 0.9 + 0.1 / classes
    each = CLOSED_FORMS[name](logits.astype(np.float64), smoothed.astype(np.float64))
    expected = (each * (targets @ weights)).sum() / (targets @ weights).sum()
    config = options(train_config, loss=name, label_smoothing=0.1)
    found = [values_and_gradient(framework, logits, targets, config, weights) for framework in FRAMEWORKS]
    for value, _ in found:
        require_equal("losses", value, expected, expected)
    require_equal("gradients of losses", found[1][1], found[0][1], np.abs(found[0][1]).max())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_mean_of_a_batch_times_its_weight_is_a_sum(framework: str, train_config: Train) -> None:
    """So that the sums of batches add up: of classes, of blends and of numbers."""
    random = np.random.default_rng(1)
    weights = np.float32(random.uniform(0.5, 2, 5))
    targets, blends = random.integers(0, 5, 50), np.float32(random.dirichlet(np.ones(5), 50))
    assert total_weight(framework, targets, weights) == pytest.approx(weights[targets].sum(), rel=1e-6)
    assert total_weight(framework, blends, weights) == pytest.approx((blends @ weights).sum(), rel=1e-6)
    assert total_weight(framework, np.float32(random.normal(size=50)), np.ones(1, np.float32)) == 50


def total_weight(framework: str, targets: np.ndarray, weights: np.ndarray) -> float:
    function = framework_module(framework, "losses").total_weight
    if framework == "torch":
        import torch

        return float(function(torch.from_numpy(targets), torch.from_numpy(weights)))
    import tensorflow as tf

    return float(function(tf.constant(targets), tf.constant(weights)))


def test_without_gamma_the_focal_loss_is_cross_entropy(train_config: Train) -> None:
    logits, targets = batch("focal")
    for framework in FRAMEWORKS:
        configs = [options(train_config, loss=name, focal_gamma=0.0) for name in ("focal", "cross_entropy")]
        ones = np.ones(5, np.float32)
        first, second = (values_and_gradient(framework, logits, targets, config, ones) for config in configs)
        assert first[0] == pytest.approx(second[0], rel=1e-6)
        np.testing.assert_allclose(first[1], second[1], atol=1e-6)


def test_auto_is_cross_entropy_of_classes_and_squared_error_of_numbers(train_config: Train) -> None:
    assert [train_config.loss_for(outputs) for outputs in (1, 2, 10)] == ["mse", "cross_entropy", "cross_entropy"]


def test_balanced_weights_let_all_classes_count_the_same(train_config: Train) -> None:
    targets = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    split = Split(np.zeros((10, 1)), targets)
    weights = class_weights(train_config.model_copy(update={"class_weights": "balanced"}), split, 3)
    np.testing.assert_allclose(weights, [10 / 18, 10 / 6, 10 / 6])
    assert weights[targets].mean() == pytest.approx(1)
    own = train_config.model_copy(update={"class_weights": (1.0, 2.0, 3.0)})
    assert class_weights(own, split, 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"loss": "mse"},
            r"train\.loss = 'mse' does not fit 'digits', a classification; allowed: auto, cross_entropy, ",
        ),
        ({"loss": "binary_cross_entropy"}, r"needs 2 classes; 'digits' has 10"),
        (
            {"class_weights": (1.0, 2.0)},
            r"the length of train\.class_weights is 2; allowed: 10, a number for each class",
        ),
    ],
)
def test_what_does_not_fit_classes_is_refused_by_name(
    changes: dict[str, Any], words: str, spec: DataSpec, train_config: Train
) -> None:
    train_config.require_compatible(spec)
    with pytest.raises(InputError, match=words):
        train_config.model_copy(update=changes).require_compatible(spec)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"loss": "hinge"},
            r"train\.loss = 'hinge' does not fit 'digits', a regression; allowed: auto, mse, l1, huber",
        ),
        ({"class_weights": "balanced"}, r"train\.class_weights does not fit 'digits', a regression; allowed: null"),
    ],
)
def test_what_does_not_fit_numbers_is_refused_by_name(
    changes: dict[str, Any], words: str, spec: DataSpec, train_config: Train
) -> None:
    numbers = replace(spec, task="regression", labels=())
    train_config.require_compatible(numbers)
    with pytest.raises(InputError, match=words):
        train_config.model_copy(update=changes).require_compatible(numbers)
