"""Optimizers of Keras by name, with the constants of `models.constants`."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf

from models.config import Train
from models.constants import (
    ADAGRAD_INITIAL_SUM,
    DECAY,
    DECOUPLED_WEIGHT_DECAY,
    EPSILON,
    LION_BETAS,
    LOSS_SCALE,
    LOSS_SCALE_STEPS,
)


class SGD(keras.optimizers.SGD):
    """Momentum as in torch: it does not include the learning rate, so both agree while that changes."""

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        if not self.momentum:
            self.assign_sub(variable, learning_rate * gradient)
            return
        tf.raw_ops.ResourceApplyMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=learning_rate,
            grad=gradient,
            momentum=self.momentum,
            use_nesterov=self.nesterov,
        )


class Adam(keras.optimizers.Adam):
    """One element-wise operation of TensorFlow for each variable; Keras' own has twelve.

    Epsilon is added after the bias correction, as in Kingma & Ba 2015 and in torch.
    """

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        index, step = self._get_variable_index(variable), tf.cast(self.iterations + 1, variable.dtype)
        power_1, power_2 = self.beta_1**step, self.beta_2**step
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon * tf.sqrt(1 - power_2),  # which the operation adds before the correction
            grad=gradient,
        )


class RMSprop(keras.optimizers.RMSprop):
    """Momentum as in torch, see SGD; epsilon is added to the root."""

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        square = self._velocities[index]
        self.assign(square, self.rho * square + (1 - self.rho) * keras.ops.square(gradient))
        step = gradient / (keras.ops.sqrt(square) + self.epsilon)
        if self.momentum:
            self.assign(self._momentums[index], self.momentum * self._momentums[index] + step)
            step = self._momentums[index]
        self.assign_sub(variable, learning_rate * step)


# Keras computes a decay of 0, but not one of None.
OPTIMIZERS: dict[str, Callable[[Train], keras.optimizers.Optimizer]] = {
    "sgd": lambda config: SGD(config.learning_rate, momentum=config.momentum, nesterov=config.nesterov),
    "adam": lambda config: Adam(config.learning_rate, epsilon=EPSILON["adam"]),
    "adamw": lambda config: Adam(
        config.learning_rate, epsilon=EPSILON["adamw"], weight_decay=config.weight_decay or None
    ),
    "rmsprop": lambda config: RMSprop(config.learning_rate, DECAY["rmsprop"], config.momentum, EPSILON["rmsprop"]),
    "adagrad": lambda config: keras.optimizers.Adagrad(config.learning_rate, ADAGRAD_INITIAL_SUM, EPSILON["adagrad"]),
    "adadelta": lambda config: keras.optimizers.Adadelta(config.learning_rate, DECAY["adadelta"], EPSILON["adadelta"]),
    "lion": lambda config: keras.optimizers.Lion(
        config.learning_rate, *LION_BETAS, weight_decay=config.weight_decay or None
    ),
}


def build(model: keras.Model, config: Train, scales_loss: bool = False) -> keras.optimizers.Optimizer:
    """The optimizer by name. Only kernels decay: biases, normalisations and slopes do not.

    `adamw` and `lion` decay the weights themselves (Loshchilov & Hutter 2019); for the others `penalised`
    adds the decay to the gradient. `scales_loss` is for float16: the gradients that it applies are scaled.
    """
    optimizer = OPTIMIZERS[config.optimizer](config)
    optimizer.build(model.trainable_variables)
    if config.optimizer in DECOUPLED_WEIGHT_DECAY:
        optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if not is_kernel(v)])
    if not scales_loss:
        return optimizer
    scaling = keras.optimizers.LossScaleOptimizer(optimizer, LOSS_SCALE, LOSS_SCALE_STEPS)
    scaling.build(model.trainable_variables)
    return scaling


def is_kernel(variable: keras.Variable) -> bool:
    """True of a variable that may decay; the slopes of a PReLU have two empty dimensions."""
    return len(variable.shape) > 1 and variable.name != "alpha"


def penalised(gradients: Iterable[tf.Tensor], variables: list[keras.Variable], config: Train) -> list[tf.Tensor]:
    """The gradients, those of kernels with the L1 and L2 penalties; L2 where the optimizer does not decay."""
    decay = 0.0 if config.optimizer in DECOUPLED_WEIGHT_DECAY else config.weight_decay

    def with_penalties(gradient: tf.Tensor, variable: keras.Variable) -> tf.Tensor:
        if not is_kernel(variable):
            return gradient
        if decay:
            gradient += decay * variable
        if config.l1:
            gradient += config.l1 * keras.ops.sign(variable)
        return gradient

    return [with_penalties(gradient, variable) for gradient, variable in zip(gradients, variables, strict=True)]
