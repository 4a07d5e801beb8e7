"""Keras' own file of a trained model, which needs no code of ours and no pickle."""

from pathlib import Path

import keras

from models.spec import DataSpec


def save(model: keras.Model, spec: DataSpec, path: Path) -> None:
    """Write a `.keras`: raw examples [N, *shape] to the outputs of the model."""
    functional(model, spec).save(path)


def functional(model: keras.Model, spec: DataSpec) -> keras.Model:
    """The same layers as a functional model, if its class is one of ours."""
    if type(model).__module__.startswith("keras."):
        return model
    raw = keras.Input(spec.shape, dtype=spec.dtype, name=spec.input_name)
    return keras.Model(raw, model.call(raw), name=model.name)
