"""Each architecture is the same model in both frameworks."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from models.config import Activation, Augment, Initializer, Linear, Models, Normalization, Train
from models.errors import InputError
from models.keras.layers import replaced, training_calls
from models.spec import DataSpec
from models.torch.layers import Dropout
from models.training.augment import change, draw
from models.training.batches import Batch, Split
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module, logits
from tests.models.equality import require_equal

PARAMETERS = {"linear": 650, "mlp": 2778, "cnn": 3682, "resnet": 5122}  # on digits
OTHER = {"torch": "keras", "keras": "torch"}
SHAPE = (1000, 999)


@pytest.mark.parametrize("architecture", CONFIGS)
def test_twins_have_the_same_weights_layer_by_layer(architecture: str, spec: DataSpec) -> None:
    shapes = {}
    for framework in FRAMEWORKS:
        model = framework_module(framework, architecture).build(spec, CONFIGS[architecture])
        weights = framework_module(framework, "store").get_weights(model)
        shapes[framework] = [(name, array.shape) for name, array in weights.items()]
    assert shapes["torch"] == shapes["keras"]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_twins_have_the_same_number_of_trainable_parameters(architecture: str, spec: DataSpec) -> None:
    counts = [
        framework_module(framework, "store").parameters(
            framework_module(framework, architecture).build(spec, CONFIGS[architecture])
        )
        for framework in FRAMEWORKS
    ]
    assert counts[0] == counts[1] == PARAMETERS[architecture]


def test_the_static_check_names_every_architecture() -> None:
    names = re.findall(r"\w+", Path(__file__).with_name("interfaces.py").read_text("utf-8"))
    assert set(Models.model_fields) <= set(names)


VARIANCE = {  # of a kernel [inputs, outputs]: Glorot & Bengio 2010, He et al. 2015
    "glorot_uniform": lambda inputs, outputs: 2 / (inputs + outputs),
    "glorot_normal": lambda inputs, outputs: 2 / (inputs + outputs),
    "he_uniform": lambda inputs, outputs: 2 / inputs,
    "he_normal": lambda inputs, outputs: 2 / inputs,
}


@pytest.mark.parametrize("initializer", get_args(Initializer))
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_kernels_start_with_the_distribution_of_their_initializer(framework: str, initializer: str) -> None:
    labels = tuple(map(str, range(200)))
    spec = DataSpec("wide", "classification", "image", (20, 30, 1), "uint8", labels, "label", (), (0.0,), (1.0,))
    model = framework_module(framework, "linear").build(spec, Linear(initializer=initializer))
    weights = framework_module(framework, "store").get_weights(model)
    kernel = weights["logits/kernel"] / np.sqrt(VARIANCE[initializer](600, 200))
    assert kernel.mean() == pytest.approx(0, abs=0.02)
    assert kernel.var() == pytest.approx(1, rel=0.02)
    # Kurtosis tells a normal distribution (3) from a uniform one (1.8) and from one cut off at 2 (2.4).
    assert (kernel**4).mean() / kernel.var() ** 2 == pytest.approx(1.8 if "uniform" in initializer else 3, rel=0.03)
    assert not weights["logits/bias"].any()


VARIANTS = {
    "linear": CONFIGS["linear"],
    **{
        f"{name} {activation}": CONFIGS[name].model_copy(update={"activation": activation})
        for name in ("mlp", "cnn")
        for activation in get_args(Activation)
    },
    **{
        f"{name} {normalization} normalization": CONFIGS[name].model_copy(update={"normalization": normalization})
        for name in ("mlp", "cnn", "resnet")
        for normalization in get_args(Normalization)
    },
    **{
        f"resnet stride {stride} {activation}": CONFIGS["resnet"].model_copy(
            update={"stem_stride": stride, "pre_activation": True, "activation": activation, "blocks": 2}
        )
        for stride, activation in ((1, "prelu"), (2, "relu"))
    },
}


@pytest.mark.parametrize("source", FRAMEWORKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_ported_weights_give_the_same_logits(
    variant: str, source: str, spec: DataSpec, digits: Split, train_config: Train, tmp_path: Path
) -> None:
    architecture, config = variant.split(maxsplit=1)[0], VARIANTS[variant]
    framework_module(source, "device").choose(train_config)  # with a seed: the same weights in each run of the tests
    original = framework_module(source, architecture).build(spec, config)
    store = framework_module(source, "store")
    random = np.random.default_rng(0)
    # As after a training: no bias or moving statistic is still at its first value.
    store.set_weights(
        original, {name: vary(name, array, random) for name, array in store.get_weights(original).items()}
    )
    store.save(original, tmp_path / "weights.npz")
    twin = framework_module(OTHER[source], architecture).build(spec, config)
    framework_module(OTHER[source], "store").load(twin, tmp_path / "weights.npz")
    images = digits.inputs[:256]
    expected, found = logits(source, original, images), logits(OTHER[source], twin, images)
    assert np.abs(expected).max() > 0.1
    require_equal("logits", found, expected)


def vary(name: str, array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Only kernels may go either way: a variance stays positive, and few activations die."""
    lowest = -0.1 if name.endswith("kernel") else 0.0
    noise = random.uniform(0.9, 1.1, array.shape) * array + random.uniform(lowest, 0.1, array.shape)
    return noise.astype(np.float32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_training_step_changes_both_twins_alike(
    variant: str, spec: DataSpec, digits: Split, train_config: Train
) -> None:
    """Same weights, same batch: the same loss, gradients and moving statistics."""
    architecture, config = variant.split(maxsplit=1)[0], VARIANTS[variant].model_copy(update={"dropout": 0.0})
    settings = train_config.model_copy(update={"optimizer": "sgd", "weight_decay": 0.0, "gradient_clip": 1.0})
    framework_module("torch", "device").choose(settings)
    start = framework_module("torch", "store").get_weights(framework_module("torch", architecture).build(spec, config))
    batch = Batch(digits.inputs[:64], digits.targets[:64])
    totals, steps = {}, {}
    for framework in FRAMEWORKS:
        model = framework_module(framework, architecture).build(spec, config)
        framework_module(framework, "store").set_weights(model, start)
        device = framework_module(framework, "device").choose(settings)
        learner = framework_module(framework, "fit").Learner(model, settings, device, np.ones(10, np.float32))
        learner.train_batches([batch], [1.0])
        totals[framework] = learner.read_totals()
        steps[framework] = {name: array - start[name] for name, array in learner.get_weights().items()}
    assert totals["keras"].metric == totals["torch"].metric
    require_equal("loss", totals["keras"].loss, totals["torch"].loss, totals["torch"].loss)
    for name, step in steps["torch"].items():
        largest = np.abs(step).max()
        assert largest > 0, f"{name} did not move"
        row = "moving statistics" if "/moving_" in name else "gradients"
        require_equal(row, steps["keras"][name], step, largest)


@pytest.mark.parametrize("rate", [0.003, 0.2, 0.5, 0.999999])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_dropout_drops_the_share_that_it_is_given_and_keeps_the_mean(
    framework: str, precision: str, rate: float
) -> None:
    dropped, gradient, again, unchanged = (torch_dropout if framework == "torch" else keras_dropout)(rate, precision)
    share = max(1 - rate, 2**-16)
    deviation = (share * (1 - share) / dropped.size) ** 0.5
    assert (dropped != 0).mean() == pytest.approx(share, abs=4 * deviation + 2**-17)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - rate), 2**-8 if precision == "bfloat16" else 1e-6)
    np.testing.assert_array_equal(gradient, dropped)
    assert not np.array_equal(again, dropped)
    np.testing.assert_array_equal(unchanged, np.ones(SHAPE))


def torch_dropout(rate: float, precision: str) -> list[np.ndarray]:
    """Ones that are dropped, their gradient, dropped again, and in inference mode."""
    torch.manual_seed(0)
    layer, x = Dropout(rate), torch.ones(SHAPE, dtype=getattr(torch, precision), requires_grad=True)
    dropped = layer(x)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return [each.detach().float().numpy() for each in (dropped, x.grad, layer(x), layer.eval()(x))]


def keras_dropout(rate: float, precision: str) -> list[np.ndarray]:
    """The same in Keras."""
    model = keras.Sequential([keras.layers.Dropout(rate, seed=0, dtype=precision)])
    x = tf.ones(SHAPE, precision)
    with replaced(training_calls(model)), tf.GradientTape() as tape:
        tape.watch(x)
        dropped, again = model(x, training=True), model(x, training=True)
    found = dropped, tape.gradient(dropped, x), again, model(x, training=False)
    return [tf.cast(each, tf.float32).numpy() for each in found]


def test_weights_of_another_shape_are_refused(spec: DataSpec) -> None:
    for framework in FRAMEWORKS:
        model = framework_module(framework, "mlp").build(spec, CONFIGS["mlp"])
        weights = framework_module(framework, "store").get_weights(model)
        weights["dense_1/kernel"] = weights["dense_1/kernel"][:, :5]
        with pytest.raises(InputError, match=r"'dense_1/kernel': found \(64, 5\), allowed \(64, 32\)"):
            framework_module(framework, "store").set_weights(model, weights)


def test_a_small_image_is_refused_by_name(spec: DataSpec) -> None:
    config = CONFIGS["cnn"].model_copy(update={"channels": (8, 8, 8, 8)})
    with pytest.raises(InputError, match=r"models\.cnn halves images 4 times, which needs 16x16; 'digits' has 8x8"):
        config.require_compatible(spec)


@pytest.mark.parametrize("architecture", ["cnn", "resnet"])
def test_one_normalised_position_needs_three_examples_in_a_batch(architecture: str, spec: DataSpec) -> None:
    config = CONFIGS[architecture].model_copy(update={"channels": (8, 8, 8)})
    largest = {"cnn": 15, "resnet": 4}[architecture]  # that ends as 1x1
    config.require_batches(replace(spec, shape=(largest + 1,) * 2 + (1,)), 2)
    with pytest.raises(InputError, match=rf"batch_size = 2: models\.{architecture}\.normalization = 'batch' needs two"):
        config.require_batches(replace(spec, shape=(largest,) * 2 + (1,)), 2)


@pytest.mark.parametrize("architecture", ["cnn", "resnet"])
def test_a_table_is_refused_by_convolutions(architecture: str) -> None:
    columns = {"features": tuple("wxyz"), "mean": (0.0,) * 4, "std": (1.0,) * 4}
    columns |= {"categories": ((),) * 4, "fill": (None,) * 4}
    table = DataSpec("iris", "classification", "tabular", (4,), "float32", ("a", "b"), "kind", **columns)
    with pytest.raises(InputError, match=f"'{architecture}' does not fit 'iris': .*: linear, mlp"):
        CONFIGS[architecture].require_compatible(table)


def test_augmentation_is_the_same_for_both_frameworks_and_leaves_the_pixels(digits: Split) -> None:
    images = digits.inputs[:50]
    config = Augment(shift=2, flip=True, mixup=0.0)
    draws = [draw(np.arange(50), config, np.random.default_rng(7), images=True) for _ in range(2)]
    first, second = (change(images.copy(), digits.targets[:50], drawn, config, 10)[0] for drawn in draws)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8
    assert first.shape == images.shape
    assert (first != images).any(axis=(1, 2, 3)).mean() > 0.8
    assert set(np.unique(first)) <= set(np.unique(images)) | {0}


def test_mixup_blends_pixels_and_classes_alike(digits: Split) -> None:
    inputs, targets = digits.inputs[:50], digits.targets[:50]
    config = Augment(shift=0, flip=False, mixup=1.0)
    drawn = draw(np.arange(50), config, np.random.default_rng(3), images=True)
    blended, soft = change(inputs, targets, drawn, config, 10)
    assert (blended.dtype, soft.dtype) == (np.uint8, np.float32)
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    share = soft[np.arange(50), targets]
    both = soft.max(1) < 1  # with an example of another class
    assert both.sum() > 30
    assert len(set(share[both].round(5))) == 1, "one share for the batch"
    np.testing.assert_allclose(blended.mean(), inputs.mean(), atol=0.5)
