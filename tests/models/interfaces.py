"""Static check, by mypy alone: both framework packages implement `models.interfaces`, and wrong calls are errors.

No test imports this file. mypy reports a module that does not fit, and a `type: ignore` without an error.
"""

from pathlib import Path
from typing import TypeVar

import keras
from torch import nn

from models.config import CNN, MLP, Linear, ResNet, Train
from models.interfaces import (
    ArchitectureModule,
    BoardModule,
    DeviceModule,
    ExportModule,
    FitModule,
    Learner,
    OnEpoch,
    OnStep,
    StoreModule,
    WorkersModule,
)
from models.spec import DataSpec
from models.training.batches import TrainingData
from models.training.device import Device
from pipelines.execution.candidate import Candidate

M = TypeVar("M")
Architectures = tuple[
    ArchitectureModule[CNN, M], ArchitectureModule[Linear, M], ArchitectureModule[MLP, M], ArchitectureModule[ResNet, M]
]
Modules = tuple[
    BoardModule[M],
    DeviceModule,
    ExportModule[M],
    FitModule[M],
    type[Learner],
    StoreModule[M],
    WorkersModule,
]


def torch_package() -> tuple[Architectures[nn.Module], Modules[nn.Module]]:
    from models.torch import board, cnn, device, export, fit, linear, mlp, resnet, store, workers

    return (cnn, linear, mlp, resnet), (board, device, export, fit, fit.Learner, store, workers)


def keras_package() -> tuple[Architectures[keras.Model], Modules[keras.Model]]:
    from models.keras import board, cnn, device, export, fit, linear, mlp, resnet, store, workers

    return (cnn, linear, mlp, resnet), (board, device, export, fit, fit.Learner, store, workers)


def wrong_calls(chosen: Candidate, spec: DataSpec, config: CNN, path: Path) -> None:
    """Calls as the stages make them, each with a mistake."""
    model = chosen.architecture_module().build(spec, config)
    chosen.framework_module("losses")  # type: ignore[call-overload]
    chosen.architecture_module().build(config, spec)  # type: ignore[arg-type]
    chosen.framework_module("device").choose()  # type: ignore[call-arg]
    chosen.framework_module("store").save(path, model)  # type: ignore[arg-type]
    chosen.framework_module("store").load(model)  # type: ignore[call-arg]
    chosen.framework_module("store").measure(model)  # type: ignore[attr-defined]
    chosen.framework_module("export").export(model, path, spec)  # type: ignore[arg-type]
    chosen.framework_module("export").predictor(model, spec)(path)  # type: ignore[arg-type]


def wrong_training(
    chosen: Candidate, spec: DataSpec, data: TrainingData, config: Train, device: Device, epoch: OnEpoch, step: OnStep
) -> None:
    """The same of a training."""
    model = chosen.architecture_module().build(spec, config)  # type: ignore[arg-type]
    chosen.framework_module("fit").fit(model, data, device, config, epoch, step)  # type: ignore[arg-type]
    chosen.framework_module("fit").fit(model, data, config, device, step, epoch)  # type: ignore[arg-type]
    count: int = chosen.framework_module("fit").fit(model, data, config, device, epoch, step)  # type: ignore[assignment]
    chosen.framework_module("store").save(data, Path(str(count)))  # type: ignore[arg-type]
