"""A linear model in Keras, as one `keras.Sequential`: nothing but one layer after the other."""

import keras

from models.config import Linear
from models.keras.layers import head, scale
from models.spec import DataSpec


def build(spec: DataSpec, config: Linear) -> keras.Model:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    raw = keras.Input(spec.shape, dtype=spec.dtype, name=spec.input_name)
    layers = [raw, scale(spec), keras.layers.Flatten(), head(spec.outputs, config.initializer)]
    return keras.Sequential(layers, name="linear")
