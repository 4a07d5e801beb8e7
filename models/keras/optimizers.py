"""Optimizers of Keras by name, with the constants of the torch room."""

from collections.abc import Callable

import keras
import tensorflow as tf

from models.config import Train

OPTIMIZERS: dict[str, Callable[[Train], keras.optimizers.Optimizer]] = {
    "sgd": lambda config: keras.optimizers.SGD(config.learning_rate, momentum=config.momentum),
    "adam": lambda config: keras.optimizers.Adam(config.learning_rate, epsilon=1e-8),
    "adamw": lambda config: keras.optimizers.AdamW(
        config.learning_rate, weight_decay=config.weight_decay, epsilon=1e-8
    ),
    # Keras adds epsilon under the root, torch behind it: the square has the same effect.
    "rmsprop": lambda config: keras.optimizers.RMSprop(
        config.learning_rate, rho=0.9, epsilon=1e-14, momentum=config.momentum
    ),
}


def build(model: keras.Model, config: Train) -> keras.optimizers.Optimizer:
    """The optimizer by name. Only kernels decay: biases and normalisations do not.

    `adamw` decays the weights themselves (Loshchilov & Hutter 2019), the others add the decay to
    the gradient (`decayed`).
    """
    optimizer = OPTIMIZERS[config.optimizer](config)
    optimizer.build(model.trainable_variables)
    if config.optimizer == "adamw":
        optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if not is_kernel(v)])
    return optimizer


def is_kernel(variable: keras.Variable) -> bool:
    """Whether it may decay; the slopes of a PReLU have two empty dimensions."""
    return len(variable.shape) > 1 and variable.name != "alpha"


def decayed(gradient: tf.Tensor, variable: keras.Variable, config: Train) -> tf.Tensor:
    """The gradient with the decay of a kernel added, where the optimizer itself does not decay."""
    if config.optimizer == "adamw" or not config.weight_decay or not is_kernel(variable):
        return gradient
    return gradient + config.weight_decay * tf.cast(variable, gradient.dtype)
