"""The precision `auto` on a CPU: when it is measured, and what follows from the durations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.config import Train
from models.device import Device, has_bfloat16_instructions
from models.spec import DataSpec
from models.training import precision
from models.training.batches import Split, TrainingData
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
