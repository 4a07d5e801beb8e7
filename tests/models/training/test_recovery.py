"""An interrupted training continues from its last completed epoch and ends with the same weights."""

import hashlib
import json
from typing import Any

import pytest

from models.config import Augment, Train
from models.spec import DataSpec
from models.training.batches import TrainingData
from models.training.recovery import NO_RECOVERY, LearnerState, Recovery, TrainingState
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module


class PowerFailureError(Exception):
    """Ends a training."""


class Training:
    """A training of one model, whose states are copied as a file would: with JSON and arrays."""

    def __init__(self, framework: str, architecture: str, data: TrainingData, config: Train) -> None:
        self.framework, self.architecture, self.data, self.config = framework, architecture, data, config
        self.states: list[TrainingState] = []

    def run(self, recovery: Recovery = NO_RECOVERY, fail_in: int = 0) -> tuple[str, list[Any]]:
        """SHA-256 of the weights and the history."""

        def on_epoch(epoch: Any, _: Any) -> None:
            if epoch.epoch == fail_in:
                raise PowerFailureError

        module, config = (lambda name: framework_module(self.framework, name)), self.config
        device = module("device").choose(config.model_copy(update={"precision": "float32"}))
        device = device._replace(precision=config.precision)
        model = module(self.architecture).build(self.data.spec, CONFIGS[self.architecture])
        history = module("fit").fit(model, self.data, config, device, on_epoch, lambda _: None, recovery)
        weights = module("store").get_weights(model)
        digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).hexdigest()
        return digest, [{**epoch.values(), "examples_per_second": 0} for epoch in history]

    def interrupted_in(self, epoch: int) -> TrainingState:
        """The last state of a training that fails in this epoch."""
        with pytest.raises(PowerFailureError):
            self.run(Recovery(store=lambda state: self.states.append(copy(state()))), epoch)
        return self.states[-1]


def copy(state: TrainingState) -> TrainingState:
    arrays = {name: array.copy() for name, array in state.learner.arrays.items()}
    assert all(array.dtype != object for array in arrays.values())
    best = state.best_weights and {name: array.copy() for name, array in state.best_weights.items()}
    values, random = json.loads(json.dumps([state.learner.values, state.random]))
    return TrainingState(list(state.history), LearnerState(arrays, values), random, best)


CASES = [
    ("cnn", "adamw", {}),
    ("mlp", "sgd", {"augment": Augment(shift=1, flip=True, mixup=0.2), "keep": "best"}),
    ("cnn", "rmsprop", {"precision": "bfloat16"}),
    ("linear", "lion", {}),
    ("mlp", "adamw", {"precision": "float16"}),
]


@pytest.mark.parametrize(("architecture", "optimizer", "changes"), CASES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_ends_as_if_it_had_not_been_interrupted(
    framework: str,
    architecture: str,
    optimizer: str,
    changes: dict[str, Any],
    data: TrainingData,
    train_config: Train,
) -> None:
    config = train_config.model_copy(update={"epochs": 4, "optimizer": optimizer, **changes})
    training = Training(framework, architecture, data, config)
    expected = training.run()
    state = training.interrupted_in(3)
    assert [epoch.epoch for epoch in state.history] == [1, 2]
    assert training.run(Recovery(state)) == expected


@pytest.mark.parametrize("optimizer", ["lbfgs", "asgd", "adagrad", "adadelta"])
def test_every_optimizer_of_torch_continues(optimizer: str, data: TrainingData, train_config: Train) -> None:
    config = train_config.model_copy(update={"optimizer": optimizer, "learning_rate": 0.1})
    training = Training("torch", "linear", data, config)
    expected = training.run()
    assert training.run(Recovery(training.interrupted_in(3))) == expected


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_patience_counts_the_epochs_before_the_interruption(
    framework: str, spec: DataSpec, data: TrainingData, train_config: Train
) -> None:
    """Nothing is learned at this rate, so the first epoch is the best one."""
    changes = {"epochs": 9, "patience": 2, "keep": "best", "learning_rate": 1e-30, "optimizer": "sgd"}
    training = Training(framework, "linear", data, train_config.model_copy(update=changes))
    expected = training.run()
    assert len(expected[1]) == 3
    assert training.run(Recovery(training.interrupted_in(3))) == expected
    ended: list[TrainingState] = []
    training.run(Recovery(store=lambda state: ended.append(copy(state()))))
    assert training.run(Recovery(ended[-1]), fail_in=4) == expected  # no epoch was left to train
