"""A Keras model's weights as named arrays in the layout that both twins share, and their file.

Names are `layer/weight`; dense kernels are [inputs, outputs], convolution kernels [H, W, inputs,
outputs], which is how Keras keeps them. So a checkpoint of one framework is one of the other.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.checkpoint import read, require_match, write


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """All weights and moving statistics, float32, copied."""
    return {name: to_shared(variable, variable) for name, variable in variables(model).items()}


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Copy weights in. Raises InputError where names or shapes differ from the model's."""
    by_name = variables(model)
    require_match({name: _shape(variable) for name, variable in by_name.items()}, weights)
    for name, variable in by_name.items():
        variable.assign(weights[name].reshape(variable.shape))


def save(model: keras.Model, path: Path) -> None:
    """Write `weights.npz`."""
    write(get_weights(model), path)


def load(model: keras.Model, path: Path) -> None:
    """Read `weights.npz` into a model that was built with the same configuration."""
    set_weights(model, read(path))


def parameters(model: keras.Model) -> int:
    """The number of trainable parameters."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def to_shared(variable: keras.Variable, values: Any) -> np.ndarray:
    """A copy of `values`, which are those of the variable or their gradient, in the shared layout."""
    return np.array(values.numpy()).reshape(_shape(variable))


def variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Each weight and moving statistic by its shared name: layer, and models below this one that it is part of."""
    by_name: dict[str, keras.Variable] = {}
    for layer in model.layers:
        inner = variables(layer) if isinstance(layer, keras.Model) else {own.name: own for own in layer.weights}
        by_name |= {f"{layer.name}/{name}": variable for name, variable in inner.items()}
    return by_name


def _shape(variable: keras.Variable) -> tuple[int, ...]:
    """Keras keeps the slopes of a PReLU as [1, 1, C]."""
    return tuple(variable.shape[-1:]) if variable.name == "alpha" else tuple(variable.shape)
