"""Training: it learns, repeats itself, stops when it should and says what it does."""

import math
import re
from typing import Any, get_args

import numpy as np
import pytest
from scipy.special import log_softmax

from models.config import Augment, Schedule, Train
from models.interfaces import Totals
from models.spec import DataSpec
from models.training import loop
from models.training.augment import Draw
from models.training.batches import Batch, Split, TrainingData, shuffled
from models.training.class_weights import class_weights
from models.training.device import Device, Precision
from models.training.epoch import Epoch, best_epoch, stored_epoch
from models.training.loop import NotFiniteError
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module, logits


def fit(
    framework: str,
    architecture: str,
    spec: DataSpec,
    data: TrainingData,
    config: Train,
    seen: list[Epoch] | None = None,
) -> tuple[Any, list[Epoch]]:
    device = framework_module(framework, "device").choose(config)
    model = framework_module(framework, architecture).build(spec, CONFIGS[architecture])
    on_epoch = (lambda epoch, _: None) if seen is None else (lambda epoch, _: seen.append(epoch))
    return model, framework_module(framework, "fit").fit(model, data, config, device, on_epoch, lambda progress: None)


def longer(config: Train, **changes: Any) -> Train:
    """Long enough to learn."""
    more = {"epochs": 10, "batch_size": 32, "learning_rate": 0.01, "augment": Augment(shift=0, flip=False, mixup=0.0)}
    return config.model_copy(update=more | changes)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_learns(framework: str, optimizer: str, spec: DataSpec, data: TrainingData, train_config: Train) -> None:
    rate = {"sgd": 0.05, "rmsprop": 0.001}.get(optimizer, 0.01)
    config = longer(train_config, optimizer=optimizer, learning_rate=rate)
    seen: list[Epoch] = []
    _, history = fit(framework, "cnn", spec, data, config, seen)
    assert seen == history
    assert [epoch.epoch for epoch in history] == list(range(1, 11))
    assert history[-1].train_loss < history[0].train_loss / 2
    assert history[-1].validation_accuracy > 0.85
    assert all(epoch.gradient_norm > 0 and epoch.examples_per_second > 0 for epoch in history)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_reported_validation_is_that_of_the_returned_model(
    framework: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    model, history = fit(framework, "cnn", spec, data, train_config)
    right = logits(framework, model, data.validation.inputs).argmax(1) == data.validation.targets
    assert right.mean() == pytest.approx(history[-1].validation_accuracy, abs=0.004)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_class_weights_count_in_the_losses_whatever_the_batches_are(
    framework: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    """Class by class, and few of the first: small batches hold one class, where a mean has no weights left."""
    order = np.argsort(data.validation.targets, kind="stable")[20:]
    split = Split(data.validation.inputs[order], data.validation.targets[order])
    still = {"epochs": 1, "optimizer": "sgd", "learning_rate": 1e-30, "label_smoothing": 0.0}
    for batch_size in (1, 32, len(split)):
        config = longer(train_config, **still, batch_size=batch_size, class_weights="balanced")
        model, (epoch,) = fit(framework, "linear", spec, TrainingData(split, split, spec), config)
        each = -log_softmax(logits(framework, model, split.inputs), axis=1)[np.arange(len(split)), split.targets]
        expected = np.average(each, weights=class_weights(config, split, 10)[split.targets])
        assert expected != pytest.approx(each.mean(), rel=1e-3)
        assert epoch.validation_loss == pytest.approx(expected, rel=1e-5)
        assert epoch.train_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_same_seed_gives_the_same_bits(
    framework: str, architecture: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    first, second = (
        framework_module(framework, "store").get_weights(fit(framework, architecture, spec, data, train_config)[0])
        for _ in range(2)
    )
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.parametrize(
    ("architecture", "precision"), [("cnn", "bfloat16"), ("resnet", "bfloat16"), ("cnn", "float16"), ("mlp", "float16")]
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_reduced_precision_trains_a_float32_model(
    framework: str, architecture: str, precision: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    config = longer(train_config, epochs=4 if architecture == "resnet" else 10)
    device = framework_module(framework, "device").choose(config)._replace(precision=precision)
    model = framework_module(framework, architecture).build(spec, CONFIGS[architecture])
    history = framework_module(framework, "fit").fit(model, data, config, device, lambda *_: None, lambda _: None)
    assert history[-1].validation_accuracy > 0.85
    weights = framework_module(framework, "store").get_weights(model)
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert logits(framework, model, data.validation.inputs[:2]).dtype == np.float32


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_patience_stops_and_the_weights_of_the_best_or_the_last_epoch_are_kept(
    framework: str, keep: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    """Noise for labels: the validation loss gets worse soon."""
    noise = np.random.default_rng(0).integers(0, 10, len(data.train))
    noisy = TrainingData(Split(data.train.inputs, noise), data.validation, spec)
    config = train_config.model_copy(update={"patience": 2, "keep": keep, "epochs": 40, "learning_rate": 0.01})
    model, history = fit(framework, "mlp", spec, noisy, config)
    best = best_epoch(history)
    assert len(history) == best.epoch + 2 < 40
    kept = stored_epoch(history, config)
    assert kept == (best if keep == "best" else history[-1])
    right = logits(framework, model, data.validation.inputs).argmax(1) == data.validation.targets
    assert right.mean() == pytest.approx(kept.validation_accuracy, abs=0.004)


@pytest.mark.parametrize(("clip", "advice"), [(None, "set train.gradient_clip"), (1.0, "train.gradient_clip = 1")])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_loss_that_is_no_number_stops_it(
    framework: str, clip: float | None, advice: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    config = train_config.model_copy(update={"optimizer": "sgd", "learning_rate": 1e30, "gradient_clip": clip})
    seen: list[Epoch] = []
    expected = re.escape(f"in epoch 1; lower train.learning_rate = 1e+30 or {advice}")
    with pytest.raises(NotFiniteError, match=f"{expected}$"):
        fit(framework, "mlp", spec, data, config, seen)
    assert len(seen) == 1


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_cuda_is_not_replaced_by_the_cpu(framework: str, train_config: Train) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=r"train\.device = 'cuda'.*allowed here: auto, cpu"):
        framework_module(framework, "device").choose(train_config.model_copy(update={"device": "cuda"}))


@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("architecture", CONFIGS)
def test_keras_takes_the_steps_of_a_gpu(
    architecture: str,
    precision: Precision,
    spec: DataSpec,
    data: TrainingData,
    train_config: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compiled by XLA and deterministic, as on a GPU, here for the CPU: XLA refuses the same operations on both."""
    module = framework_module("keras", "device")
    module.choose(train_config)
    monkeypatch.setattr(module, "free_memory", lambda _: 1 << 30)
    model = framework_module("keras", architecture).build(spec, CONFIGS[architecture])
    weights = class_weights(train_config, data.train, data.spec.outputs)
    learner = framework_module("keras", "fit").Learner(model, train_config, Device("cuda", "", precision), weights)
    assert learner.keep(data)
    for batch in (Batch(data.train.inputs[:32], data.train.targets[:32]), Draw(np.arange(32))):
        learner.clear_totals()
        learner.train_batches([batch], [0.001])
        trained = learner.read_totals()
        learner.clear_totals()
        learner.validate_batch(batch)
        assert trained.examples == learner.read_totals().examples == 32
        assert math.isfinite(trained.loss)
        assert math.isfinite(learner.read_totals().loss)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_learns_on_a_gpu(
    framework: str, precision: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    config = longer(train_config, device="cuda", precision=precision)
    assert framework_module(framework, "device").choose(config).kind == "cuda"
    _, history = fit(framework, "cnn", spec, data, config)
    assert history[-1].validation_accuracy > 0.85
    assert math.isfinite(history[-1].gradient_norm)


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [(1, 800), (32, 800), (33, 400), (105, 200), (1257, 20), (1281, 20), (60_000, 20)],
)
def test_few_examples_have_more_epochs(train_config: Train, examples: int, epochs: int) -> None:
    config = train_config.model_copy(update={"epochs": 20, "minimum_steps": 800, "batch_size": 32})
    assert config.epochs_for(examples) == epochs


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_steps_in_one_call_are_those_of_single_calls(
    framework: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    batches = [
        Batch(data.train.inputs[start : start + 32], data.train.targets[start : start + 32]) for start in (0, 32)
    ]
    found = []
    for calls in ([batches], [batches[:1], batches[1:]]):
        device = framework_module(framework, "device").choose(train_config)
        model = framework_module(framework, "cnn").build(spec, CONFIGS["cnn"])
        learner = framework_module(framework, "fit").Learner(model, train_config, device, np.ones(10, np.float32))
        for rate, call in zip((0.01, 0.02), calls, strict=False):
            learner.train_batches(call, [0.01, 0.02] if len(call) == 2 else [rate])
        found.append((learner.read_totals(), learner.get_weights()))
    (totals, weights), (single_totals, single_weights) = found
    assert totals == single_totals
    assert totals.examples == 64
    for name, array in weights.items():
        np.testing.assert_array_equal(array, single_weights[name], err_msg=name)


def test_keras_normalises_images_in_one_operation(spec: DataSpec, data: TrainingData, train_config: Train) -> None:
    """In training; exported graphs are of Keras' own layer, in inference mode."""
    import tensorflow as tf

    framework_module("keras", "device").choose(train_config)
    model = framework_module("keras", "resnet").build(spec, CONFIGS["resnet"])
    learner = framework_module("keras", "fit").Learner(
        model, train_config, Device("cpu", "", "float32"), np.ones(10, np.float32)
    )
    inputs, targets = tf.constant(data.train.inputs[:8]), tf.constant(data.train.targets[:8])
    graph = learner._train_step.get_concrete_function(inputs, targets).graph
    layers = [name for name in learner.get_weights() if name.endswith("gamma")]
    assert [operation.type for operation in graph.get_operations()].count("FusedBatchNormV3") == len(layers) > 3
    assert all(layer.__dict__.get("call") is None for layer in model._flatten_layers())


def test_batches_of_three_or_more_leave_no_example_alone(digits: Split, train_config: Train) -> None:
    """What batch normalisation is allowed by; of two each, an odd number of examples leaves one alone."""

    def smallest(examples: int, batch_size: int) -> int:
        split = Split(digits.inputs[:examples], digits.targets[:examples])
        draws = shuffled(split, batch_size, train_config.augment, np.random.default_rng(0))
        return min(drawn.size for drawn in draws)

    assert all(smallest(examples, batch_size) >= 2 for examples in range(2, 30) for batch_size in range(3, 12))
    assert smallest(5, 2) == 1


def test_the_schedule_goes_over_all_epochs_and_few_examples_have_more(
    spec: DataSpec, train_config: Train, digits: Split
) -> None:
    rates = []

    class Learner:
        scales_loss = False

        def keep(self, data: TrainingData) -> bool:
            return False

        def train_batches(self, batches: list[Batch], given: list[float]) -> None:
            rates.extend(given)

        def validate_batch(self, batch: Batch) -> None: ...

        def read_totals(self) -> Totals:
            return Totals(1.0, 1.0, 1.0, 1.0, 1.0, 0.0)

        def clear_totals(self) -> None: ...

    few = Split(digits.inputs[:40], digits.targets[:40])
    config = train_config.model_copy(
        update={"epochs": 1, "minimum_steps": 9, "batch_size": 20, "schedule": Schedule(name="cosine", warmup=0.0)}
    )
    history = loop.run(Learner(), TrainingData(few, few, spec), config, lambda epoch, learner: None, lambda step: None)
    assert len(history) == 5
    assert len(rates) == 10
    assert rates[0] == config.learning_rate
    assert 0 < rates[-1] < 0.03 * config.learning_rate


def test_torch_does_not_share_out_small_batches(spec: DataSpec, data: TrainingData, train_config: Train) -> None:
    import torch

    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    config = train_config.model_copy(update={"epochs": 1})
    device = framework_module("torch", "device").choose(config)
    model = framework_module("torch", "mlp").build(spec, CONFIGS["mlp"])
    framework_module("torch", "fit").fit(
        model, data, config, device, lambda epoch, learner: seen.append(torch.get_num_threads()), lambda step: None
    )
    assert seen == [1]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_keras_traces_the_steps_once_for_any_number_of_batches(
    spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    device = framework_module("keras", "device").choose(train_config)
    model = framework_module("keras", "mlp").build(spec, CONFIGS["mlp"])
    learner = framework_module("keras", "fit").Learner(model, train_config, device, np.ones(10, np.float32))
    batch = Batch(data.train.inputs[:32], data.train.targets[:32])
    for count in (3, 1, 2):
        learner.train_batches([batch] * count, [0.01] * count)
    assert learner._train_steps.experimental_get_tracing_count() == 1
    assert learner.read_totals().examples == 6 * 32
