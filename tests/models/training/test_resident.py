"""Examples that a device keeps: the numbers are those of batches made in NumPy, and no step waits for the device."""

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from models.config import LOSSES, Augment, Optimizer, Train
from models.spec import DataSpec
from models.training import resident
from models.training.augment import Draw
from models.training.batches import Split, TrainingData, changed, shuffled
from models.training.device import Device, Precision
from models.training.workers import Workers
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module

CHANGES = [
    Augment(shift=0, flip=False, mixup=0.0),
    Augment(shift=2, flip=True, mixup=0.0),
    Augment(shift=1, flip=False, mixup=0.4),
]


@pytest.mark.parametrize("augment", CHANGES, ids=str)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_kept_examples_give_the_bits_of_copied_ones(
    framework: str,
    augment: Augment,
    data: TrainingData,
    train_config: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = train_config.model_copy(update={"epochs": 2, "augment": augment})
    found = []
    for free in (0, 1 << 30):
        monkeypatch.setattr(framework_module(framework, "device"), "free_memory", lambda _, free=free: free)
        device = framework_module(framework, "device").choose(config)
        model = framework_module(framework, "mlp").build(data.spec, CONFIGS["mlp"])
        history = framework_module(framework, "fit").fit(model, data, config, device, lambda *_: None, lambda _: None)
        losses = [(epoch.train_loss, epoch.validation_loss) for epoch in history]
        found.append((losses, framework_module(framework, "store").get_weights(model)))
    (losses, weights), (kept_losses, kept_weights) = found
    assert losses == kept_losses
    for name, array in weights.items():
        np.testing.assert_array_equal(array, kept_weights[name], err_msg=name)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("augment", CHANGES, ids=str)
def test_compiled_batches_of_keras_are_those_of_numpy(augment: Augment, task: str, digits: Split) -> None:
    """As on a GPU, but by XLA for the CPU, which may round a blended pixel to its neighbour."""
    split, outputs = digits, 10
    if task == "regression":
        split, outputs = Split(digits.inputs, digits.targets.astype(np.float32)), 1
    kept = framework_module("keras", "resident").Resident(split, augment, outputs, compiles=True)
    for drawn in list(shuffled(split, 100, augment, np.random.default_rng(0)))[:3]:
        inputs, targets = (np.asarray(tensor) for tensor in kept.batch(drawn.arrays()))
        expected = changed(split, drawn, augment, outputs)
        assert (inputs.dtype, targets.dtype) == (expected.inputs.dtype, expected.targets.dtype)
        difference = np.abs(inputs.astype(int) - expected.inputs)
        assert difference.max() <= (1 if augment.mixup else 0)
        assert difference.mean() < 1e-4
        np.testing.assert_allclose(targets, expected.targets, rtol=1e-6)


def test_workers_share_a_batch_of_kept_examples(
    data: TrainingData, train_config: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In torch; in Keras they share every batch where it is used."""
    monkeypatch.setattr(framework_module("torch", "device"), "free_memory", lambda _: 1 << 30)
    config = train_config.model_copy(update={"augment": CHANGES[2]})
    drawn = next(shuffled(data.train, 31, config.augment, np.random.default_rng(0)))
    for rank in range(2):
        model = framework_module("torch", "linear").build(data.spec, CONFIGS["linear"])
        arguments = config, Device("cpu", "", "float32"), np.ones(10, np.float32), Workers(rank, 2)
        learner = framework_module("torch", "fit").Learner(model, *arguments)
        assert learner.keep(data)
        for kept, copied in zip(
            learner._part(drawn), learner._part(changed(data.train, drawn, config.augment, 10)), strict=True
        ):
            assert len(kept) == 15 + rank
            np.testing.assert_array_equal(kept, copied)


def test_examples_are_kept_where_they_take_a_quarter_of_the_free_memory(data: TrainingData) -> None:
    size = sum(split.inputs.nbytes + split.targets.nbytes for split in (data.train, data.validation))
    assert resident.fits(data, 4 * size)
    assert not resident.fits(data, 4 * size - 1)
    assert not resident.fits(data, 0)


def test_workers_keep_the_examples_on_all_devices_or_none(data: TrainingData) -> None:
    class OtherDoesNotFit(Workers):
        def sum(self, array: np.ndarray) -> np.ndarray:
            return array + 1

    assert resident.fits(data, 1 << 30, Workers(0, 2))
    assert not resident.fits(data, 1 << 30, OtherDoesNotFit(0, 2))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_cpu_keeps_nothing(framework: str, train_config: Train) -> None:
    module = framework_module(framework, "device")
    assert module.free_memory(module.choose(train_config)) == 0


STEPS: list[tuple[str, dict[str, Any]]] = [
    *(("mlp", {"loss": name}) for name, task in LOSSES.items() if task == "classification"),
    *(("mlp", {"optimizer": name}) for name in get_args(Optimizer) if name != "lbfgs"),
    *((name, {}) for name in CONFIGS),
    ("cnn", {"augment": CHANGES[1], "gradient_clip": None, "l1": 0.1}),
    ("mlp", {"augment": CHANGES[2], "class_weights": "balanced"}),
    *(("cnn", {"precision": "float16", "optimizer": name}) for name in ("adam", "adamw")),
]


@pytest.mark.parametrize(("architecture", "changes"), STEPS, ids=str)
def test_no_step_of_torch_waits_for_the_device(
    architecture: str,
    changes: dict[str, Any],
    spec: DataSpec,
    digits: Split,
    train_config: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of a step on tensors without data: to read a value, for which a GPU would be waited for, is an error."""
    import torch

    # Only the checks of the device are replaced, of which optimizers have a list.
    for name, function in (
        ("optimizer", "_get_fused_kernels_supported_devices"),
        ("optimizer", "_get_capturable_supported_devices"),
        ("asgd", "_get_capturable_supported_devices"),
    ):
        module = importlib.import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, function, lambda *_: ["meta"], raising=False)
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())  # it knows no tensors without data
    monkeypatch.setattr(framework_module("torch", "device"), "free_memory", lambda _: 1 << 30)
    classes = 2 if changes.get("loss") == "binary_cross_entropy" else 10
    split = Split(digits.inputs[:64], digits.targets[:64] % classes)
    data = TrainingData(split, split, replace(spec, labels=spec.labels[:classes]))
    config = train_config.model_copy(update=changes)
    model = framework_module("torch", architecture).build(data.spec, CONFIGS[architecture])
    meta: Any = "meta"
    learner = framework_module("torch", "fit").Learner(
        model, config, Device(meta, "", changes.get("precision", "float32")), np.ones(classes, np.float32)
    )
    assert learner.keep(data)
    draws = list(shuffled(split, 32, config.augment, np.random.default_rng(0)))
    learner.train_batches(draws, [0.1, 0.01])
    learner.validate_batch(Draw(np.arange(16)))
    learner.clear_totals()
    assert all(parameter.grad.is_meta for parameter in model.parameters())
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        torch.Tensor.tolist(learner.totals)


@pytest.mark.parametrize("precision", get_args(Precision))
def test_every_operation_of_a_step_of_keras_has_code_for_gpus(
    precision: Precision, data: TrainingData, train_config: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What XLA does not compile; TensorFlow's build for GPUs lists its code without one. The others run on the CPU, for
    which tensors are copied, at each step."""
    import tensorflow as tf

    config = train_config.model_copy(update={"augment": Augment(shift=1, flip=True, mixup=0.3)})
    framework_module("keras", "device").choose(config)
    monkeypatch.setattr(framework_module("keras", "device"), "free_memory", lambda _: 1 << 30)
    model = framework_module("keras", "cnn").build(data.spec, CONFIGS["cnn"])
    learner = framework_module("keras", "fit").Learner(
        model, config, Device("cuda", "", precision), np.ones(10, np.float32)
    )
    assert learner.keep(data)
    drawn = next(shuffled(data.train, 32, config.augment, np.random.default_rng(0)))
    tensors = {name: tf.constant(array[None]) for name, array in drawn.arrays().items()}
    graph = learner._train_steps.get_concrete_function(tensors, tf.constant([0.1])).graph.as_graph_def()
    nodes = list(uncompiled(graph))
    assert {"MaxPoolGrad", "FusedBatchNormGradV3", "MatMul"} <= {node.op for node in nodes}
    assert {node.op for node in nodes if not has_code_for_gpus(node)} == set()


def uncompiled(graph: Any) -> Iterator[Any]:
    """The operations of a graph and of the functions that it calls, but for those that XLA compiles."""
    functions = {function.signature.name: function for function in graph.library.function}
    left, seen = [graph.node], set()
    while left:
        for node in left.pop():
            yield node
            for value in node.attr.values():
                for name in {value.func.name, *(each.name for each in value.list.func)} & functions.keys() - seen:
                    seen.add(name)
                    if not functions[name].attr["_XlaMustCompile"].b:
                        left.append(functions[name].node_def)


def has_code_for_gpus(node: Any) -> bool:
    from tensorflow.python.framework.kernels import get_registered_kernels_for_op

    def fits(kernel: Any) -> bool:
        types = {each.name: each.allowed_values.list.type for each in kernel.constraint}
        return all(node.attr[name].type in allowed for name, allowed in types.items() if allowed)

    kernels = get_registered_kernels_for_op(node.op).kernel
    return any(fits(kernel) for kernel in kernels if kernel.device_type in ("GPU", "DEFAULT"))
