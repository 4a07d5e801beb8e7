"""Layers that every Keras model here is made of. Initialisers and constants are those of `models.torch`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras.initializers import Constant, VarianceScaling

from models.config import Hidden, Initializer
from models.constants import BATCH_NORM_MOMENTUM, LEAKY_RELU_SLOPE, NORM_EPSILON, PRELU_SLOPE
from models.encoding import encoding
from models.spec import DataSpec, scaling

Calls = dict[keras.layers.Layer, Callable[..., tf.Tensor]]  # what a layer calls, in place of its own

# In both framework packages normal distributions are not truncated at two standard deviations.
INITIALIZERS: dict[str, Callable[[], keras.initializers.Initializer]] = {
    "glorot_uniform": partial(VarianceScaling, 1.0, "fan_avg", "uniform"),
    "glorot_normal": partial(VarianceScaling, 1.0, "fan_avg", "untruncated_normal"),
    "he_uniform": partial(VarianceScaling, 2.0, "fan_in", "uniform"),
    "he_normal": partial(VarianceScaling, 2.0, "fan_in", "untruncated_normal"),
}


def columns(spec: DataSpec) -> keras.Model:
    """Raw columns [N,F] of a table to float32 [N,D]: numbers filled and standardised, categories one-hot."""
    fill, column, code, mean, factor = encoding(spec)
    raw_NF = x = keras.Input(spec.shape, dtype=spec.dtype)
    if fill is not None:
        x = keras.ops.where(keras.ops.isnan(x), fill, x)
    if column is not None:
        x = keras.ops.take(x, column, axis=1)
    encoded = (x - mean) * factor
    if column is not None:
        encoded = encoded + keras.ops.cast(keras.ops.equal(x, code), "float32")
    return keras.Model(raw_NF, encoded, name="scale")


def scale(spec: DataSpec) -> keras.layers.Layer:
    """The first layer of every model: raw values to float32 of mean 0 and standard deviation 1 in training."""
    if spec.kind == "tabular":
        return columns(spec)
    factor, offset = scaling(spec)
    return keras.layers.Rescaling(factor.tolist(), offset.tolist(), name="scale")


def unscale(spec: DataSpec, standardised: tf.Tensor) -> tf.Tensor:
    """The standardised target of a regression, [N,1], to its own unit."""
    return standardised * tf.constant([[spec.target_std]]) + tf.constant([[spec.target_mean]])


def inputs(spec: DataSpec) -> list[keras.layers.Layer]:
    """The first layers of a model that reads a vector: scaled and flat."""
    layers = [keras.Input(spec.shape, dtype=spec.dtype, name=spec.input_name), scale(spec)]
    return [*layers, keras.layers.Flatten()] if spec.kind == "image" else layers


def activation(config: Hidden, name: str, spatial: bool) -> keras.layers.Layer:
    """The activation by name: `gelu` is exact, `prelu` learns a slope per channel."""
    if config.activation == "prelu":
        return keras.layers.PReLU(Constant(PRELU_SLOPE), shared_axes=[1, 2] if spatial else None, name=name)
    if config.activation == "leaky_relu":
        return keras.layers.LeakyReLU(LEAKY_RELU_SLOPE, name=name)
    return keras.layers.Activation(config.activation, name=name)


def dense(outputs: int, name: str, config: Hidden, bias: bool) -> keras.layers.Layer:
    """A hidden dense layer; a bias starts at zero."""
    initializer = INITIALIZERS[config.initializer]()
    return keras.layers.Dense(outputs, use_bias=bias, kernel_initializer=initializer, name=name)


def head(outputs: int, initializer: Initializer = "glorot_uniform") -> keras.layers.Layer:
    """The last layer, whose outputs are logits: zero bias."""
    return keras.layers.Dense(outputs, kernel_initializer=INITIALIZERS[initializer](), name="logits")


def pad(size: int, stride: int, name: str) -> keras.layers.Layer:
    """The padding before `conv`: TensorFlow's own is not the same on all sides where the stride is 2."""
    return keras.layers.ZeroPadding2D(size // 2 if stride > 1 else 0, name=name)


def conv(outputs: int, name: str, config: Hidden, size: int = 3, stride: int = 1) -> keras.layers.Layer:
    """A convolution, padded equally on all sides, that divides height and width by `stride`; a bias starts at zero."""
    bias, initializer = config.normalization == "none", INITIALIZERS[config.initializer]()
    padding = "valid" if stride > 1 else "same"
    return keras.layers.Conv2D(outputs, size, stride, padding, use_bias=bias, kernel_initializer=initializer, name=name)


NORMALIZATIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "batch": partial(keras.layers.BatchNormalization, epsilon=NORM_EPSILON, momentum=1 - BATCH_NORM_MOMENTUM),
    "layer": partial(keras.layers.LayerNormalization, epsilon=NORM_EPSILON),
    "none": keras.layers.Identity,
}


def norm(config: Hidden, name: str) -> keras.layers.Layer:
    """The normalisation by name; the momentum of moving statistics is 0.9."""
    return NORMALIZATIONS[config.normalization](name=name)


@contextmanager
def replaced(calls: Calls) -> Iterator[None]:
    """In the block, these layers call the given functions.

    Keras has no hooks: `call` itself is replaced, so that exported files need no class of this project.
    """
    for layer, call in calls.items():
        layer.call = call
    try:
        yield
    finally:
        for layer in calls:
            del layer.call


def training_calls(model: keras.Model) -> Calls:
    """The calls of a training step that take less time than Keras' own, or draw finer random numbers."""
    calls: Calls = {
        layer: _silu
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.silu
    }
    calls |= {layer: partial(_drop, layer) for layer in dropouts(model)}
    return calls | fused_batch_normalization(model, training=True)


def dropouts(model: keras.Model) -> list[keras.layers.Dropout]:
    """The layers that drop elements."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout) and layer.rate]


def dropout_factors(layer: keras.layers.Dropout, shape: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Random factors of this shape, 0 or 1 / (1 - rate).

    They are drawn as 16-bit integers, as in torch, so that the probability is a multiple of 2^-16. Keras draws floats
    of `dtype`: the probability would be a multiple of 1/128 in bfloat16.
    """
    count, seed = tf.reduce_prod(shape), tf.cast(layer.seed_generator.next(), tf.int32)  # XLA takes no uint32
    drawn = tf.random.stateless_uniform([-(-count // 4)], seed, minval=None, maxval=None, dtype=tf.int64)
    drawn = tf.reshape(tf.bitcast(drawn, tf.int16), [-1])[:count]
    kept = drawn >= min(round(layer.rate * (1 << 16)), (1 << 16) - 1) - (1 << 15)
    return tf.reshape(tf.cast(kept, dtype) * (1 / (1 - layer.rate)), shape)


def _drop(layer: keras.layers.Dropout, x: tf.Tensor, **_: Any) -> tf.Tensor:
    return x * dropout_factors(layer, tf.shape(x), x.dtype)


def _silu(x: tf.Tensor, **_: Any) -> tf.Tensor:
    """TensorFlow's own computes the sigmoid again for the gradient: less memory, more time."""
    return x * tf.sigmoid(x)


def fused_batch_normalization(model: keras.Model, training: bool) -> Calls:
    """Batch normalisation of images as one operation; Keras' own has one for each product."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    function = _normalise_by_batch if training else _normalise_by_moving_statistics
    return {layer: partial(function, layer) for layer in layers if layer.input_spec.ndim == 4}


def _normalise_by_batch(layer: keras.layers.BatchNormalization, x_NHWC: tf.Tensor, **_: Any) -> tf.Tensor:
    """Normalise a batch [N,H,W,C] by its own statistics, and update the moving ones."""
    outputs, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x_NHWC, scale=layer.gamma, offset=layer.beta, mean=[], variance=[], epsilon=layer.epsilon, is_training=True
    )
    count = tf.cast(tf.size(x_NHWC) / x_NHWC.shape[-1], tf.float32)
    variance = unbiased * (count - 1) / count  # Keras remembers that of the batch
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + batch * (1 - layer.momentum))
    return outputs


def _normalise_by_moving_statistics(layer: keras.layers.BatchNormalization, x_NHWC: tf.Tensor, **_: Any) -> tf.Tensor:
    """Normalise a batch [N,H,W,C] in inference mode."""
    return tf.raw_ops.FusedBatchNormV3(
        x=x_NHWC, scale=layer.gamma, offset=layer.beta, mean=layer.moving_mean, variance=layer.moving_variance,
        epsilon=layer.epsilon, is_training=False,
    )[0]  # fmt: skip
