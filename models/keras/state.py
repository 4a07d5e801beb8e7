"""The state of a Keras training: weights, optimizer and random generators, without pickle."""

import keras
import numpy as np

from models.training.recovery import LearnerState


def get_state(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> LearnerState:
    """A copy, on the CPU."""
    arrays = {name: np.array(variable.numpy()) for name, variable in _variables(model, optimizer).items()}
    return LearnerState(arrays, {})


def set_state(model: keras.Model, optimizer: keras.optimizers.Optimizer, state: LearnerState) -> None:
    """Restore a state."""
    for name, variable in _variables(model, optimizer).items():
        variable.assign(state.arrays[name])


def _variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """All variables; those of a model include the random generators of its layers."""
    groups = {"model": model.variables, "optimizer": optimizer.variables}
    return {f"{group}/{number}": own for group, variables in groups.items() for number, own in enumerate(variables)}
