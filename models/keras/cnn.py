"""A convolutional network in Keras, by the functional interface: a graph of layers with known shapes."""

import math

import keras

from models.config import CNN
from models.keras.layers import activation, conv, dense, head, norm, scale
from models.spec import DataSpec


def build(spec: DataSpec, config: CNN) -> keras.Model:
    """Raw images [N,H,W,C] to logits float32 [N,K]."""
    image_NHWC = keras.Input(spec.shape, dtype=spec.dtype, name=spec.input_name)
    x_NHWC = scale(spec)(image_NHWC)
    for stage, width in enumerate(config.channels, start=1):
        x_NHWC = _stage(x_NHWC, stage, width, config)
    # Not Flatten: with sizes that are known it exports as one node, as the torch twin does.
    x_ND = keras.ops.reshape(x_NHWC, (-1, math.prod(x_NHWC.shape[1:])))
    x_ND = keras.layers.Dropout(config.dropout, name="dropout_1")(x_ND)
    x_ND = dense(config.dense, "dense_1", config, bias=True)(x_ND)
    x_ND = activation(config, "activation", spatial=False)(x_ND)
    x_ND = keras.layers.Dropout(config.dropout, name="dropout_2")(x_ND)
    return keras.Model(image_NHWC, head(spec.outputs)(x_ND), name="cnn")


def _stage(x_NHWC: keras.KerasTensor, stage: int, width: int, config: CNN) -> keras.KerasTensor:
    x_NHWC = conv(width, f"conv_{stage}", config)(x_NHWC)
    x_NHWC = keras.layers.MaxPooling2D(2, name=f"pool_{stage}")(x_NHWC)
    x_NHWC = norm(config, f"norm_{stage}")(x_NHWC)
    return activation(config, f"activation_{stage}", spatial=True)(x_NHWC)
