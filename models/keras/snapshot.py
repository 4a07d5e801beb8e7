"""Outputs and gradients of the layers of a Keras model for one batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from models.keras.store import get_weights, to_shared, variables
from models.training.snapshot import Outputs, Snapshot, is_watched


def snapshot(model: keras.Model, inputs: tf.Tensor, loss: Callable[[tf.Tensor], tf.Tensor]) -> Snapshot:
    """The outputs of the layers for raw `inputs` in inference mode, and the gradients of the `loss` of the logits.

    The model is as before: no statistic moves.
    """
    outputs: dict[str, tf.Tensor] = {}
    with tf.GradientTape() as tape, _watched(model, outputs):
        value = loss(model(inputs, training=False))
    weights = {name: variable for name, variable in variables(model).items() if variable.trainable}
    gradients = tape.gradient(value, [variable.value for variable in weights.values()], unconnected_gradients="zero")
    return Snapshot(
        {layer: Outputs(*numbers.numpy().tolist()) for layer, numbers in outputs.items()},
        get_weights(model),
        {name: to_shared(weights[name], gradient) for name, gradient in zip(weights, gradients, strict=True)},
    )


@contextmanager
def _watched(model: keras.Model, outputs: dict[str, tf.Tensor]) -> Iterator[None]:
    """In the block, each watched layer stores its output in `outputs`. Keras has no hooks, so `call` is replaced."""
    watched = {name: layer for name, layer in _layers(model.layers) if is_watched(name)}
    for name, layer in watched.items():
        layer.call = _noting(layer.call, outputs, name)
    try:
        yield
    finally:
        for layer in watched.values():
            del layer.call


def _layers(layers: list[keras.Layer], parent: str = "") -> Iterator[tuple[str, keras.Layer]]:
    for layer in layers:
        name = f"{parent}{layer.name}"
        yield name, layer
        yield from _layers(list(layer._flatten_layers(include_self=False, recursive=False)), f"{name}/")


def _noting(call: Callable[..., Any], outputs: dict[str, tf.Tensor], name: str) -> Callable[..., Any]:
    def noting(*arguments: Any, **options: Any) -> Any:
        output = call(*arguments, **options)
        outputs[name] = _describe(output)
        return output

    return noting


def _describe(output: tf.Tensor) -> tf.Tensor:
    """The numbers of `Outputs` of [N,C] or [N,H,W,C]."""
    zeros = tf.cast(output == 0, tf.float32)
    dead = tf.reduce_min(zeros, list(range(output.shape.rank - 1)))  # [C]
    return tf.stack([tf.reduce_mean(output), tf.math.reduce_std(output), tf.reduce_mean(zeros), tf.reduce_mean(dead)])
