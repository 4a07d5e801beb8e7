"""Training of `cnn` by the fast recipe of docs/experiments.md in either framework, for the benchmark."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.training.clock import Clock
from benchmarks.training.fashion import Fashion
from models.config import Framework, Train
from models.interfaces import Learner
from models.training import precision
from models.training.batches import Split, TrainingData
from models.training.class_weights import class_weights
from models.training.device import Device
from models.training.epoch import Epoch
from models.training.workers import ALONE
from pipelines.config import params
from pipelines.execution.candidate import Candidate
from pipelines.train.__main__ import measured

# The recipe as keys of params.yaml; a test compares it with the documented command.
RECIPE: Mapping[str, Any] = {
    "models.cnn.channels": (16, 48),
    "models.cnn.activation": "silu",
    "models.cnn.dropout": 0.1,
    "train.epochs": 5,
    "train.batch_size": 128,
    "train.augment.flip": True,
}
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Twin:
    """A model of the recipe, on its device."""

    framework: Framework
    model: Any
    config: Train
    device: Device

    def module(self, name: str) -> ModuleType:
        """A module of the framework's package."""
        return importlib.import_module(f"models.{self.framework}.{name}")

    def learner(self, data: TrainingData) -> Learner:
        """The model with an optimizer."""
        weights = class_weights(self.config, data.train, data.spec.outputs)
        learner: Learner = self.module("fit").Learner(self.model, self.config, self.device, weights)
        return learner


def build(framework: Framework, data: Fashion, seed: int, changes: Mapping[str, Any] = RECIPE) -> Twin:
    """A new model with the parameters of params.yaml and these changes."""
    settings = params.read()
    cnn, train, augment = (
        _changed(section, prefix, changes)
        for section, prefix in (
            (settings.models.cnn, "models.cnn"),
            (settings.train, "train"),
            (settings.train.augment, "train.augment"),
        )
    )
    config = train.model_copy(update={"augment": augment, "seed": seed, "device": "cpu", "minimum_steps": 0})
    chosen, examples = Candidate(framework, "cnn"), splits(data)
    device = chosen.framework_module("device").choose(config)
    if precision.is_measured(config, examples.train, device, ALONE):
        device = measured(chosen, cnn, examples, config, device)
    return Twin(framework, chosen.architecture_module().build(data.spec, cnn), config, device)


def splits(data: Fashion) -> TrainingData:
    """All training images; validation, which is not part of the measured time, has one batch of them."""
    train = Split(data.images, data.labels)
    return TrainingData(train, Split(data.images[:128], data.labels[:128]), data.spec)


def train(framework: Framework, data: Fashion, seed: int, clock: Clock) -> str:
    """Train by the recipe; evaluated after each epoch. The precision that was used."""
    twin = build(framework, data, seed)

    def on_epoch(_: Epoch, learner: Learner) -> None:
        clock.evaluate(lambda: accuracy(data, learner.predict))

    twin.module("fit").fit(twin.model, splits(data), twin.config, twin.device, on_epoch, lambda _: None)
    return twin.device.precision


def accuracy(data: Fashion, predict: Callable[[np.ndarray], np.ndarray]) -> float:
    """Accuracy on the test images."""
    parts = np.split(data.test_images, range(EVALUATION_BATCH, len(data.test_images), EVALUATION_BATCH))
    return data.accuracy(np.concatenate([predict(part) for part in parts]))


def _changed(section: Any, prefix: str, changes: Mapping[str, Any]) -> Any:
    own = {key.removeprefix(f"{prefix}."): value for key, value in changes.items() if key.startswith(f"{prefix}.")}
    return section.model_copy(update={key: value for key, value in own.items() if "." not in key})
