"""A multilayer perceptron in Keras, as one `keras.Sequential`: each layer has one input, that of the layer before."""

import keras

from models.config import MLP
from models.keras.layers import activation, dense, head, inputs, norm
from models.spec import DataSpec


def build(spec: DataSpec, config: MLP) -> keras.Model:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    layers = inputs(spec)
    for number, hidden in enumerate(config.hidden, start=1):
        layers.append(dense(hidden, f"dense_{number}", config, bias=config.normalization == "none"))
        layers.append(norm(config, f"norm_{number}"))
        layers.append(activation(config, f"activation_{number}", spatial=False))
        layers.append(keras.layers.Dropout(config.dropout, name=f"dropout_{number}"))
    layers.append(head(spec.outputs))
    return keras.Sequential(layers, name="mlp")
