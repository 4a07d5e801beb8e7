"""Each optimizer gives the same numbers in both frameworks, also while the learning rate changes."""

from typing import Any, get_args

import numpy as np
import pytest
from pydantic import ValidationError

from models.config import MISSING, Augment, Optimizer, Schedule, Train
from models.spec import DataSpec
from models.training.batches import TrainingData
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module
from tests.models.equality import require_equal

TWINS = [name for name in get_args(Optimizer) if name not in MISSING["keras"]]
CHANGES: list[dict[str, Any]] = [
    *({"optimizer": name, "weight_decay": decay} for name in TWINS for decay in (0.0, 0.1)),
    {"optimizer": "sgd", "weight_decay": 0.0, "momentum": 0.0},
    {"optimizer": "sgd", "weight_decay": 0.0, "nesterov": True},
    {"optimizer": "rmsprop", "weight_decay": 0.0, "momentum": 0.0},
    {"optimizer": "adamw", "weight_decay": 0.1, "l1": 0.01},
    {"optimizer": "sgd", "weight_decay": 0.1, "l1": 0.01},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "-".join(map(str, changes.values())))
def test_optimizers_move_the_same_weights_alike(changes: dict[str, Any], spec: DataSpec, train_config: Train) -> None:
    """Six steps with the same gradients, of all sizes down to below epsilon where no penalty may cancel them."""
    config = train_config.model_copy(update=changes)
    prelu = CONFIGS["mlp"].model_copy(update={"activation": "prelu"})
    models = {framework: framework_module(framework, "mlp").build(spec, prelu) for framework in FRAMEWORKS}
    framework_module("keras", "store").set_weights(
        models["keras"], framework_module("torch", "store").get_weights(models["torch"])
    )
    start = framework_module("torch", "store").get_weights(models["torch"])
    movers = {"torch": move_torch(models["torch"], config), "keras": move_keras(models["keras"], config)}
    random = np.random.default_rng(0)
    shapes = [variable.shape for variable in models["keras"].trainable_variables]
    for step in range(6):
        gradients = [of_all_sizes(shape, -1 if config.weight_decay else -10, random) for shape in shapes]
        for mover in movers.values():
            mover(gradients, 0.01 * (step + 1) / (1 + step**2))
    found, expected = (
        framework_module(framework, "store").get_weights(models[framework]) for framework in ("keras", "torch")
    )
    for name, array in expected.items():
        assert not np.array_equal(array, start[name]), f"{name} did not move"
        require_equal("optimizers", found[name], array)


def move_torch(model: Any, config: Train):
    import torch

    optimizers = framework_module("torch", "optimizers")
    optimizer = optimizers.build(model, config)

    def move(gradients: list[np.ndarray], rate: float) -> None:
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = torch.from_numpy(np.ascontiguousarray(gradient.T))
        optimizers.penalise(model.parameters(), config)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()

    return move


def move_keras(model: Any, config: Train):
    import tensorflow as tf

    optimizers, variables = framework_module("keras", "optimizers"), model.trainable_variables
    optimizer = optimizers.build(model, config)

    def move(gradients: list[np.ndarray], rate: float) -> None:
        optimizer.learning_rate.assign(rate)
        optimizer.apply(optimizers.penalised(map(tf.constant, gradients), variables, config), variables)

    return move


def of_all_sizes(shape: tuple[int, ...], smallest: int, random: np.random.Generator) -> np.ndarray:
    """The last element keeps its size, so that every array moves."""
    values = random.choice([-1, 1], shape) * 10 ** random.uniform(smallest, 0, shape)
    values.flat[-1] = 0.1
    return np.float32(values)


@pytest.mark.parametrize(
    ("framework", "optimizer"),
    [(framework, name) for framework in FRAMEWORKS for name in get_args(Optimizer) if name not in MISSING[framework]],
)
def test_every_optimizer_learns(
    framework: str, optimizer: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    """A linear model, whose objective has one minimum. L-BFGS wants all examples at once."""
    rate = {"sgd": 0.05, "adagrad": 0.2, "adadelta": 1.0, "lbfgs": 0.5, "asgd": 0.5, "lion": 0.003}.get(optimizer, 0.01)
    changes = {"optimizer": optimizer, "learning_rate": rate, "epochs": 6, "gradient_clip": None}
    changes |= {"batch_size": 512 if optimizer == "lbfgs" else 16}
    changes |= {"schedule": Schedule(name="constant", warmup=0.0), "augment": Augment(shift=0, flip=False, mixup=0.0)}
    config = train_config.model_copy(update=changes)
    model = framework_module(framework, "linear").build(spec, CONFIGS["linear"])
    device = framework_module(framework, "device").choose(config)
    history = framework_module(framework, "fit").fit(
        model, data, config, device, lambda epoch, learner: None, lambda progress: None
    )
    assert history[-1].validation_accuracy > 0.85


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_l1_penalty_makes_kernels_smaller(
    framework: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    sizes = []
    for l1 in (0.0, 0.01):
        config = train_config.model_copy(update={"optimizer": "sgd", "learning_rate": 0.05, "l1": l1, "epochs": 12})
        model = framework_module(framework, "linear").build(spec, CONFIGS["linear"])
        device = framework_module(framework, "device").choose(config)
        framework_module(framework, "fit").fit(
            model, data, config, device, lambda epoch, learner: None, lambda progress: None
        )
        sizes.append(np.abs(framework_module(framework, "store").get_weights(model)["logits/kernel"]).mean())
    assert sizes[1] < sizes[0] / 1.5


def test_nesterov_without_momentum_is_refused(train_config: Train) -> None:
    values = train_config.model_dump() | {"optimizer": "sgd", "nesterov": True, "momentum": 0.0}
    with pytest.raises(ValidationError, match="nesterov = true with momentum = 0; allowed: momentum above 0"):
        Train.model_validate(values)
