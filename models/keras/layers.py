"""Layers that every Keras model here is made of. Initialisers and epsilons are those of the torch room."""

from collections.abc import Callable
from functools import partial

import keras
from keras.initializers import VarianceScaling

from models.config import Initializer
from models.spec import DataSpec, scaling

# Normal means normal, not truncated at two standard deviations, in both rooms.
INITIALIZERS: dict[str, Callable[[], keras.initializers.Initializer]] = {
    "glorot_uniform": partial(VarianceScaling, 1.0, "fan_avg", "uniform"),
    "glorot_normal": partial(VarianceScaling, 1.0, "fan_avg", "untruncated_normal"),
    "he_uniform": partial(VarianceScaling, 2.0, "fan_in", "uniform"),
    "he_normal": partial(VarianceScaling, 2.0, "fan_in", "untruncated_normal"),
}


def scale(spec: DataSpec) -> keras.layers.Layer:
    """Raw values [N, ..., C] to float32 with mean 0 and standard deviation 1 by the training statistics."""
    factor, offset = scaling(spec)
    return keras.layers.Rescaling(factor.tolist(), offset.tolist(), name="scale")


def dense(outputs: int, name: str) -> keras.layers.Layer:
    """A hidden dense layer: He uniform kernel, zero bias."""
    return keras.layers.Dense(outputs, kernel_initializer="he_uniform", name=name)


def head(outputs: int, initializer: Initializer = "glorot_uniform") -> keras.layers.Layer:
    """The last layer, whose outputs are logits: zero bias."""
    return keras.layers.Dense(outputs, kernel_initializer=INITIALIZERS[initializer](), name="logits")


def conv(outputs: int, name: str) -> keras.layers.Layer:
    """A 3x3 convolution that keeps height and width; no bias, as a normalisation follows."""
    return keras.layers.Conv2D(outputs, 3, padding="same", use_bias=False, kernel_initializer="he_uniform", name=name)


def norm(name: str) -> keras.layers.Layer:
    """Batch normalisation that moves its statistics by a tenth at each step."""
    return keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=name)
