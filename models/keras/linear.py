"""A linear model in Keras, as one `keras.Sequential`."""

import keras

from models.config import Linear
from models.keras.layers import head, inputs
from models.spec import DataSpec


def build(spec: DataSpec, config: Linear) -> keras.Model:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    return keras.Sequential([*inputs(spec), head(spec.outputs, config.initializer)], name="linear")
