"""The precision `auto` on a CPU: when it is measured, and what follows from the durations. Float16: scaled losses."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.config import Train
from models.spec import DataSpec
from models.training import loop, precision
from models.training.batches import Batch, Split, TrainingData
from models.training.device import Device, has_bfloat16_instructions
from models.training.epoch import Epoch
from models.training.loop import NotFiniteError
from models.training.workers import ALONE, Workers
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module

CPU = Device("cpu", "CPU", "float32")
LARGE = Split(np.zeros((2000, 1), np.uint8).repeat(784, 1).reshape(2000, 28, 28, 1), np.zeros(2000, np.int64))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx512f avx512_bf16", True), ("avx2 amx_tile amx_bf16", True), ("avx2 avx512f avx512_vnni", False), ("", False)],
)
def test_instructions_for_bfloat16(tmp_path: Path, flags: str, expected: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n\n")
    assert has_bfloat16_instructions(tmp_path / "cpuinfo") == expected
    assert not has_bfloat16_instructions(tmp_path / "missing")


@pytest.mark.parametrize(
    ("changes", "device", "workers", "instructions", "expected"),
    [
        ({}, CPU, ALONE, True, True),
        ({}, CPU, ALONE, False, False),
        ({"precision": "float32"}, CPU, ALONE, True, False),
        ({"precision": "bfloat16"}, CPU, ALONE, True, False),
        ({}, Device("cuda", "GPU", "float32"), ALONE, True, False),
        ({}, CPU, Workers(1, 2), True, False),
        ({"epochs": 31}, CPU, ALONE, True, False),  # a training of a few seconds
    ],
)
def test_it_is_measured_where_it_may_pay(
    changes: dict[str, Any],
    device: Device,
    workers: Workers,
    instructions: bool,
    expected: bool,
    train_config: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16_instructions", lambda: instructions)
    config = train_config.model_copy(update={"precision": "auto", "epochs": 32, **changes})
    assert precision.is_measured(config, LARGE, device, workers) == expected


@pytest.mark.parametrize(("bfloat16", "expected"), [(0.04, "bfloat16"), (0.09, "bfloat16"), (0.095, "float32")])
def test_bfloat16_needs_a_clear_gain(bfloat16: float, expected: str) -> None:
    seconds = {"float32": 0.1, "bfloat16": bfloat16}
    assert precision.with_faster(CPU, seconds) == Device("cpu", "CPU", expected, seconds)  # type: ignore[arg-type,comparison-overlap]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_steps_are_measured_in_both_precisions(
    framework: str, spec: DataSpec, data: TrainingData, train_config: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "BUDGET", 0.0)
    framework_module(framework, "device").choose(train_config)
    built = []

    def build() -> Any:
        built.append(framework_module(framework, "mlp").build(spec, CONFIGS["mlp"]))
        return built[-1]

    seconds = framework_module(framework, "fit").step_seconds(build, data, train_config, CPU)
    assert list(seconds) == ["float32", "bfloat16"]
    assert all(0 < each < 10 for each in seconds.values())
    assert len(built) == 2


SCALES = {
    "torch": lambda learner: learner.scaler.get_scale(),
    "keras": lambda learner: float(learner.optimizer.dynamic_scale.numpy()),
}


SET_SCALE = {
    "torch": lambda learner, scale: learner.scaler.load_state_dict(learner.scaler.state_dict() | {"scale": scale}),
    "keras": lambda learner, scale: learner.optimizer.dynamic_scale.assign(scale),
}


@pytest.fixture
def float16_learner(data: TrainingData, train_config: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A learner in float16, on the CPU, with this initial scale of the loss, doubled after two steps."""

    def build(framework: str, scale: float, optimizer: str = "adamw") -> Any:
        module = framework_module(framework, {"torch": "fit", "keras": "optimizers"}[framework])
        monkeypatch.setattr(module, "LOSS_SCALE", scale)
        monkeypatch.setattr(module, "LOSS_SCALE_STEPS", 2)
        config = train_config.model_copy(update={"optimizer": optimizer})
        framework_module(framework, "device").choose(config)
        still = CONFIGS["mlp"].model_copy(update={"dropout": 0.0})
        model = framework_module(framework, "mlp").build(data.spec, still)
        device = CPU._replace(precision="float16")
        return framework_module(framework, "fit").Learner(model, config, device, np.ones(10, np.float32))

    return build


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_step_whose_gradients_overflow_is_not_taken(
    framework: str, optimizer: str, data: TrainingData, float16_learner: Callable[..., Any]
) -> None:
    learner, batch = (
        float16_learner(framework, 2.0**40, optimizer),
        Batch(data.train.inputs[:32], data.train.targets[:32]),
    )
    before = learner.get_weights()
    learner.train_batches([batch], [0.01])
    assert SCALES[framework](learner) == 2.0**39
    assert (learner.read_totals().gradient_norm, learner.read_totals().skipped_steps) == (0, 1)
    assert math.isfinite(learner.read_totals().loss)
    for name, array in learner.get_weights().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_in_float16_that_takes_no_step_is_an_error(
    framework: str, data: TrainingData, train_config: Train, float16_learner: Callable[..., Any]
) -> None:
    config = train_config.model_copy(update={"epochs": 1})
    few = replace(data, train=Split(data.train.inputs[:64], data.train.targets[:64]))
    with pytest.raises(
        NotFiniteError, match=r"the last steps were not taken, as their gradients overflowed \(number of steps: 1\)"
    ):
        loop.run(float16_learner(framework, 2.0**60), few, config, lambda *_: None, lambda _: None)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_steps_that_are_not_taken_are_counted_in_each_epoch(
    framework: str, data: TrainingData, train_config: Train, float16_learner: Callable[..., Any]
) -> None:
    """The scale grows until gradients overflow, after the first steps; the training goes on."""
    config = train_config.model_copy(update={"epochs": 3})
    history = loop.run(float16_learner(framework, 2.0**12), data, config, lambda *_: None, lambda _: None)
    assert history[0].skipped_steps == 0
    assert 0 < history[-1].skipped_steps < 8
    assert history[-1].values()["skipped_steps"] == history[-1].skipped_steps


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_training_in_float16_that_takes_no_further_step_is_an_error(
    framework: str,
    data: TrainingData,
    train_config: Train,
    float16_learner: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "MAX_SKIPPED_STEPS", 10)
    learner, seen = float16_learner(framework, 1024.0), []

    def on_epoch(epoch: Epoch, _: Any) -> None:
        seen.append(epoch.skipped_steps)
        if epoch.epoch == 2:
            SET_SCALE[framework](learner, 2.0**60)

    with pytest.raises(NotFiniteError, match=r"gradients overflowed \(number of steps: 16\); set train\.precision"):
        loop.run(learner, data, train_config.model_copy(update={"epochs": 9}), on_epoch, lambda _: None)
    assert seen == [0, 0, 8, 8]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_scale_of_the_loss_grows_and_is_part_of_the_state(
    framework: str, data: TrainingData, float16_learner: Callable[..., Any]
) -> None:
    batches = [
        Batch(data.train.inputs[start : start + 32], data.train.targets[start : start + 32]) for start in (0, 32)
    ]
    learner, other = float16_learner(framework, 1024.0), float16_learner(framework, 64.0)
    learner.train_batches([*batches, batches[0]], [0.01] * 3)
    assert SCALES[framework](learner) == 2048
    other.restore(learner.state())
    for each in (learner, other):
        each.train_batches([batches[1]], [0.01])
        assert SCALES[framework](each) == 4096
    weights = other.get_weights()
    for name, array in learner.get_weights().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_a_step_in_float16_is_about_the_same_in_both_frameworks(
    data: TrainingData, float16_learner: Callable[..., Any]
) -> None:
    torch, keras = (float16_learner(framework, 1024.0, "sgd") for framework in FRAMEWORKS)
    start = torch.get_weights()
    keras.set_weights(start)
    for learner in (torch, keras):
        learner.train_batches([Batch(data.train.inputs[:64], data.train.targets[:64])], [1.0])
    assert keras.read_totals().loss == pytest.approx(torch.read_totals().loss, rel=1e-3)
    assert keras.read_totals().gradient_norm == pytest.approx(torch.read_totals().gradient_norm, rel=1e-2)
    weights = keras.get_weights()
    for name, array in torch.get_weights().items():
        np.testing.assert_allclose(weights[name] - start[name], array - start[name], atol=5e-3, err_msg=name)
