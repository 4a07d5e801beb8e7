"""Real images, a small configuration of each architecture, and the twins."""

import importlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from models.config import CNN, MLP, Augment, Linear, ResNet, Schedule, Train
from models.spec import DataSpec
from models.training.batches import Split, TrainingData
from tests.models.readers import Readers

FRAMEWORKS = ("torch", "keras")
Exported = Callable[[str, str], tuple[Any, Path]]
HIDDEN = {"activation": "relu", "dropout": 0.2, "initializer": "he_uniform"}
CONFIGS: dict[str, Any] = {
    "linear": Linear(initializer="glorot_uniform"),
    "mlp": MLP(hidden=(32, 16), normalization="none", **HIDDEN),
    "cnn": CNN(channels=(8, 16), dense=32, normalization="batch", **HIDDEN),
    "resnet": ResNet(channels=(8, 16), blocks=1, pre_activation=False, stem_stride=1, normalization="batch", **HIDDEN),
}


def framework_module(framework: str, name: str) -> ModuleType:
    """A module of one framework package."""
    return importlib.import_module(f"models.{framework}.{name}")


@pytest.fixture(scope="session")
def digits() -> Split:
    """scikit-learn's 1,797 real digits, uint8 [N,8,8,1], shuffled."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    images = np.round(bunch.images[order] * 255 / 16).astype(np.uint8)[..., None]
    return Split(images, bunch.target[order].astype(np.int64))


@pytest.fixture(scope="session")
def data(digits: Split, spec: DataSpec) -> TrainingData:
    """A training and a validation split of them."""
    return TrainingData(
        Split(digits.inputs[:512], digits.targets[:512]), Split(digits.inputs[512:812], digits.targets[512:812]), spec
    )


@pytest.fixture(scope="session")
def spec(digits: Split) -> DataSpec:
    mean, std = float(digits.inputs.mean()), float(digits.inputs.std())
    labels = tuple(str(label) for label in range(10))
    return DataSpec("digits", "classification", "image", (8, 8, 1), "uint8", labels, "label", (), (mean,), (std,))


@pytest.fixture(scope="session")
def train_config() -> Train:
    return Train(
        epochs=3,
        minimum_steps=0,
        batch_size=64,
        optimizer="adamw",
        learning_rate=0.003,
        momentum=0.9,
        nesterov=False,
        weight_decay=0.01,
        l1=0.0,
        schedule=Schedule(name="one_cycle", warmup=0.25),
        loss="auto",
        label_smoothing=0.05,
        class_weights=None,
        focal_gamma=2.0,
        huber_delta=1.0,
        gradient_clip=1.0,
        augment=Augment(shift=1, flip=False, mixup=0.0),
        patience=None,
        keep="last",
        precision="float32",
        device="cpu",
        devices={},
        workers=1,
        seed=0,
    )


@pytest.fixture(scope="session")
def readers() -> Iterator[Readers]:
    """Processes that open exported files."""
    with Readers() as found:
        yield found


@pytest.fixture(scope="session")
def exported(spec: DataSpec, torch_operators: None, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A model of a framework and an architecture, and the folder with its exported files: made once, not changed."""

    @cache
    def export(framework: str, architecture: str) -> tuple[Any, Path]:
        model = framework_module(framework, architecture).build(spec, CONFIGS[architecture])
        store = framework_module(framework, "store")
        weights = store.get_weights(model)
        # A bias of zero would be left out by one exporter.
        biases = {name: array + np.float32(0.001) for name, array in weights.items() if name.endswith("bias")}
        store.set_weights(model, weights | biases)
        folder = tmp_path_factory.mktemp(f"{framework}-{architecture}")
        framework_module(framework, "export").export(model, spec, folder)
        return model, folder

    return export


def logits(framework: str, model: Any, images: np.ndarray) -> np.ndarray:
    """Raw images to logits, in inference mode."""
    if framework == "torch":
        import torch

        with torch.no_grad():
            found: np.ndarray = model.eval()(torch.from_numpy(images)).numpy()
            return found
    return np.array(model(images, training=False))
